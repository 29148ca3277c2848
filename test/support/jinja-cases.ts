/** Templates and what Jinja2 3.1.6 on Python 3.11 makes of them, set as lm-eval sets it, for this document. */
export const DOCUMENT =
  '{"question":" What\'s \\"it\\"? ","answer":"so #### 42 ","list":["a","it\'s","say \\"hi\\"",1,1.0,true,null,[2,{"k":"v"}]],"n":7,"f":1.5,"one":1.0,"big":123456789012345678901234567890,"small":1e-07,"large":1e16,"flag":true,"off":false,"nothing":null,"emoji":"a😀b👍c","accents":"éàü ß","text":"the quick brown-fox (jumps)","lines":"one\\r\\ntwo\\n\\nthree","choices":{"text":["red","green","blue"],"label":["A","B","C"]},"answerKey":"B","dict":{"b":1,"a":"x","10":null,"1":[]},"empty":"","nums":[3,1,2,10,-5],"words":["banana","Apple","cherry","apple"],"rows":[{"g":"x","v":1},{"g":"y","v":2},{"g":"X","v":3}],"label":1,"s":"abc","html":"<a href=\'x\'>&</a>"}';

export const CASES: Readonly<Record<string, readonly (readonly [template: string, text: string])[]>> = {
  "values print as Python's": [
    [
      '{{flag}} {{off}} {{nothing}} {{n}} {{f}} {{one}} {{big}}',
      'True False None 7 1.5 1.0 123456789012345678901234567890',
    ],
    ['{{list}}', "['a', \"it's\", 'say \"hi\"', 1, 1.0, True, None, [2, {'k': 'v'}]]"],
    ['{{dict}}', "{'b': 1, 'a': 'x', '10': None, '1': []}"],
    ['{{choices}}', "{'text': ['red', 'green', 'blue'], 'label': ['A', 'B', 'C']}"],
    [
      '{{small}} {{large}} {{1e15}} {{0.0001}} {{0.00001}} {{1/3}} {{0.1+0.2}} {{-0.0}} {{1e22}} {{123456789.123}}',
      '1e-07 1e+16 1000000000000000.0 0.0001 1e-05 0.3333333333333333 0.300000000000000040.0 1e+22 123456789.123',
    ],
    ["{{'inf'|float}} {{'-inf'|float}} {{'nan'|float}} {{['nan'|float, 1e300*1e10]}}", 'inf -inf nan [nan, inf]'],
    [
      "{{[\"'\"]}} {{['\"']}} {{[\"'\\\"\"]}} {{['\\n\\t\\\\']}} {{['\\x00\\x7f\\xa0\\u200b\\u2028']}} {{['é😀']}} {{['']}}",
      "[\"'\"] ['\"'] ['\\'\"'] ['\\n\\t\\\\'] ['\\x00\\x7f\\xa0\\u200b\\u2028'] ['é😀'] ['']",
    ],
    ['{{(1,)}} {{()}} {{1, 2}} {{(1, [2, (3,)])}}', '(1,) () (1, 2) (1, [2, (3,)])'],
    ["{{ {'a': 1, 2: 'b', none: [], true: 1.0, (1, 2): {}} }}", "{'a': 1, 2: 'b', None: [], True: 1.0, (1, 2): {}}"],
    [
      '{{dict.keys()}} {{dict.values()}} {{dict.items()}} {{range(3)}} {{range(1, 7, 2)}}',
      "dict_keys(['b', 'a', '10', '1']) dict_values([1, 'x', None, []]) dict_items([('b', 1), ('a', 'x'), ('10', None), ('1', [])]) range(0, 3) range(1, 7, 2)",
    ],
    [
      '{{9007199254740993}} {{2**64}} {{10**25}} {{-big}}',
      '9007199254740993 18446744073709551616 10000000000000000000000000123456789012345678901234567890',
    ],
    ['{{True}} {{False}} {{None}} {{true}} {{none}}', 'True False None True None'],
    ["{{flag|string|length}} {{list|string|length}} {{one ~ n ~ flag ~ nothing ~ ['x']}}", "4 62 1.07TrueNone['x']"],
  ],
  'texts are counted and cut by code points': [
    [
      '{{emoji|length}} {{emoji[1]}} {{emoji[-2]}} {{emoji[1:4]}} {{emoji[::-1]}} {{emoji|list}} {{emoji|reverse}}',
      "5 😀 👍 😀b👍 c👍b😀a ['a', '😀', 'b', '👍', 'c'] c👍b😀a",
    ],
    ['{% for c in emoji %}[{{c}}]{% endfor %}', '[a][😀][b][👍][c]'],
    [
      "{{emoji.index('c')}} {{emoji.find('b', 2)}} {{emoji.center(9, '*')}} {{'%-7s|' % emoji}} {{'{:>7}'.format(emoji)}}",
      '4 2 **a😀b👍c** a😀b👍c  |   a😀b👍c',
    ],
    [
      '{{answer[3:]}}|{{answer[-3:]}}|{{answer[:2]}}|{{answer[::2]}}|{{answer[100:]}}|{{answer[5:2]}}|{{answer[::-2]}}|{{answer[5:1:-1]}}',
      '#### 42 |42 |so|s ##4 ||| 4## s|### ',
    ],
    [
      '{{nums[1:-1]}} {{nums[::-1]}} {{nums[:none]}} {{(1,2,3)[1:]}} {{range(9)[2:5]}} {{range(5)[-1]}}',
      '[1, 2, 10] [-5, 10, 2, 1, 3] [3, 1, 2, 10, -5] (2, 3) range(2, 5) 4',
    ],
    [
      "{{nums[true]}} {{nums[-1]}} {{nums[99] is defined}} {{'abc'[9] is defined}} {{nums['x'] is defined}}",
      '1 -5 False False False',
    ],
  ],
  'numbers are calculated as in Python': [
    [
      '{{7/2}} {{8/2}} {{7//2}} {{-7//2}} {{-7%3}} {{7%-3}} {{7.5//2}} {{-7.5%2}} {{5//2.0}} {{1%0.1}} {{1.0//0.1}}',
      '3.5 4.0 331 -2 3.01.5 2.0 0.09999999999999995 9.0',
    ],
    [
      '{{2**10}} {{2**-1}} {{2**0.5}} {{2**3**2}} {{-2**2}} {{1+1.0}} {{5-5.0}} {{3*2.0}} {{true+true}} {{-true}} {{--1}}',
      '1024 0.5 1.4142135623730951 644 2.0 0.0 6.0 2True-1',
    ],
    [
      '{{big+1}} {{big*big}} {{big//7}} {{-big//7}} {{big%7}} {{big/7}} {{12345678901234567890/3}} {{10**25/10**5}}',
      '123456789012345678901234567891 15241578753238836750495351562536198787501905199875019052100 1763668414462081127160493827017636684144620811271604938270 0 1.763668414462081e+28 4.1152263004115226e+18 1e+20',
    ],
    [
      "{{1==1.0}} {{1==true}} {{'1'==1}} {{9007199254740993==9007199254740992.0}} {{1<2<3}} {{1<3<2}} {{'a'<'b'}} {{[1,2]<[1,3]}} {{(1,2)==[1,2]}} {{ {'a':1}=={'a':1.0} }}",
      'True True False False True False True True False True',
    ],
    [
      "{{2.5|round}} {{3.5|round}} {{2.675|round(2)}} {{7|round}} {{7|round(1)}} {{1234.5678|round(-2)}} {{2.5|round(0,'ceil')}} {{2.123|round(2,'floor')}} {{7|round(0,'ceil')}} {{3.14159|round(1)}}",
      '2.0 4.0 2.67 7 7 1200.0 3.0 2.12 7.0 3.1',
    ],
    [
      "{{'42.7'|int}} {{' 12 '|int}} {{'x'|int}} {{'x'|int(9)}} {{'0x1A'|int(base=16)}} {{3.99|int}} {{-3.99|int}} {{true|int}} {{nothing|int}} {{'1_000'|int}}",
      '42 12 0 9 26 33 1 0 1000',
    ],
    [
      "{{'1.5'|float}} {{3|float}} {{'x'|float}} {{'x'|float(2.5)}} {{'1e3'|float}} {{(label|int)-1}} {{-5|abs}} {{(-5.5)|abs}} {{nums|sum}} {{[0.1,0.2,0.3]|sum}}",
      '1.5 3.0 0.0 2.5 1000.0 05 5.5 11 0.6000000000000001',
    ],
    ['{{1_000}} {{0x1F}} {{0b101}} {{0o17}} {{1_0.5}} {{1e3}} {{(2.0).is_integer()}}', '1000 31 5 15 10.5 1000.0 True'],
    [
      "{{3*'ab'}} {{[1,2]*2}} {{[1]+[2]}} {{(1,)+(2,)}} {{'x'*-1}}| {{'a' in 'abc'}} {{2 in nums}} {{'b' in dict}} {{4 not in [1]}} {{1.0 in nums}}",
      'ababab [1, 2, 1, 2] [1, 2] (1, 2) | True True True True True',
    ],
    [
      "{{flag and off}} {{off or 'y'}} {{'' or 0}} {{not flag}} {{0 and 1}} {{nothing or 'x'}} {{[] or {} or 'z'}}",
      'False y 0 False 0 x z',
    ],
  ],
  'what filters do': [
    [
      "{{text|title}} {{\"it's\"|title}} {{\"it's\".title()}} {{'hELLO wORLD'|capitalize}} {{accents|upper}} {{accents|title}} {{'ǆ'|capitalize}} {{'ﬁx'.capitalize()}} {{'ΑΣ'|lower}}",
      "The Quick Brown-Fox (Jumps) It's It'S Hello world ÉÀÜ SS Éàü SS ǅ Fix ας",
    ],
    [
      "{{list|join(', ')}} {{nums|join}} {{rows|join('-', attribute='g')}} {{'abc'|join('.')}} {{dict|join(',')}}",
      "a, it's, say \"hi\", 1, 1.0, True, None, [2, {'k': 'v'}] 31210-5 x-y-X a.b.c b,a,10,1",
    ],
    [
      "{{list|tojson}} {{dict|tojson}} {{html|tojson}} {{emoji|tojson}} {{[1.0, big, flag, nothing]|tojson}} {{ {'b':[1],'a':{}}|tojson(indent=2)}}",
      '["a", "it\\u0027s", "say \\"hi\\"", 1, 1.0, true, null, [2, {"k": "v"}]] {"1": [], "10": null, "a": "x", "b": 1} "\\u003ca href=\\u0027x\\u0027\\u003e\\u0026\\u003c/a\\u003e" "a\\ud83d\\ude00b\\ud83d\\udc4dc" [1.0, 123456789012345678901234567890, true, null] {\n  "a": {},\n  "b": [\n    1\n  ]\n}',
    ],
    [
      "{{words|sort}} {{words|sort(reverse=true)}} {{words|sort(case_sensitive=true)}} {{nums|sort}} {{rows|sort(attribute='v', reverse=true)|map(attribute='v')|list}} {{dict|dictsort}}",
      "['Apple', 'apple', 'banana', 'cherry'] ['cherry', 'banana', 'Apple', 'apple'] ['Apple', 'apple', 'banana', 'cherry'] [-5, 1, 2, 3, 10] [3, 2, 1] [('1', []), ('10', None), ('a', 'x'), ('b', 1)]",
    ],
    [
      '{{words|unique|list}} {{words|min}} {{words|max}} {{nums|max}} {{nums|first}} {{nums|last}} {{nums|reverse|list}} {{nums|length}} {{nums|count}} {{dict|list}} {{dict|items|list}}',
      "['banana', 'Apple', 'cherry'] Apple cherry 10 3 -5 [-5, 10, 2, 1, 3] 5 5 ['b', 'a', '10', '1'] [('b', 1), ('a', 'x'), ('10', None), ('1', [])]",
    ],
    [
      "{{words|map('upper')|list}} {{nums|select('odd')|list}} {{nums|reject('odd')|list}} {{nums|select('gt', 2)|list}} {{rows|selectattr('v','eq',2)|list}} {{rows|rejectattr('v','ge',2)|list}} {{rows|map(attribute='z', default='-')|list}} {{nums|map('string')|join('+')}}",
      "['BANANA', 'APPLE', 'CHERRY', 'APPLE'] [3, 1, -5] [2, 10] [3, 10] [{'g': 'y', 'v': 2}] [{'g': 'x', 'v': 1}] ['-', '-', '-'] 3+1+2+10+-5",
    ],
    [
      "{{nums|batch(2)|list}} {{nums|batch(2,0)|list}} {{nums|slice(2)|list}} {{nums|slice(2,0)|list}} {{rows|sum(attribute='v')}} {{rows|max(attribute='v')}}",
      "[[3, 1], [2, 10], [-5]] [[3, 1], [2, 10], [-5, 0]] [[3, 1, 2], [10, -5]] [[3, 1, 2], [10, -5, 0]] 6 {'g': 'X', 'v': 3}",
    ],
    [
      "{% for g in rows|groupby('g') %}{{g.grouper}}:{{g.list|length}};{% endfor %}{{rows|groupby('v')}}",
      "x:2;y:1;[(1, [{'g': 'x', 'v': 1}]), (2, [{'g': 'y', 'v': 2}]), (3, [{'g': 'X', 'v': 3}])]",
    ],
    [
      "{{text|replace('o','0')}} {{text|replace('o','0',1)}} {{12|replace('1','x')}} {{'abc'|replace('','-')}} {{' x '|trim}}| {{'xax'|trim('x')}} {{text|wordcount}} {{text|truncate(9)}} {{text|truncate(9,true)}} {{text|truncate(9,true,'',0)}}",
      'the quick br0wn-f0x (jumps) the quick br0wn-fox (jumps) x2 -a-b-c- x| a 5 the... the qu... the quick',
    ],
    [
      "{{lines|indent(2)}} {{lines|indent('> ',true)}} {{'abc'|center(9)}}| {{html|e}} {{html|safe}} {{'a b/é'|urlencode}} {{ {'a':'x y'}|urlencode }}",
      "one\n  two\n\n  three > one\n> two\n\n> three    abc   | &lt;a href=&#39;x&#39;&gt;&amp;&lt;/a&gt; <a href='x'>&</a> a%20b/%C3%A9 a=x+y",
    ],
    [
      "{{'%s is %d'|format('a',3.9)}} {{'%(a)s'|format(a=1)}} {{'%.1f%%'|format(2.25)}} {{'%s'|format(list)}}",
      "a is 3 1 2.2% ['a', \"it's\", 'say \"hi\"', 1, 1.0, True, None, [2, {'k': 'v'}]]",
    ],
    [
      "{{nothing|default('d')}} {{nothing|default('d',true)}} {{empty|default('e',boolean=true)}} {{zzz|default('d')}} {{choices.zz|d(1)}}",
      'None d e d 1',
    ],
    [
      "{{text|regex_replace('[aeiou]','*')}} {{answer|regex_replace('(\\\\d)(\\\\d)','\\\\2\\\\1')}} {{answer|regex_replace(\"\\d+\", \"N\")}} {{text|regex_replace('o','0',1)}} {{'ab'|regex_replace('(?P<x>b)','<\\\\g<x>>')}} {{'a$b'|regex_replace('a','$&')}} {{'[x] y'|regex_replace('\\\\[.*?\\\\]','')}}",
      'th* q**ck br*wn-f*x (j*mps) so #### 24  so #### N  the quick br0wn-fox (jumps) a<b> $&$b  y',
    ],
  ],
  "the methods of Python's texts, lists and dicts": [
    [
      "{{answer.split('####')[-1].strip()}} {{'a,b,c'.split(',',1)}} {{'a,b,c'.rsplit(',',1)}} {{' a  b c '.split()}} {{' a  b c '.split(none,1)}} {{''.split()}} {{''.split(',')}} {{'a b'.split(maxsplit=1)}}",
      "42 ['a', 'b,c'] ['a,b', 'c'] ['a', 'b', 'c'] ['a', 'b c '] [] [''] ['a', 'b']",
    ],
    [
      "{{lines.splitlines()}} {{lines.splitlines(true)}} {{lines.split('\\n')}} {{'a,b'.partition(',')}} {{'a,b,c'.rpartition(',')}} {{'ab'.partition(',')}}",
      "['one', 'two', '', 'three'] ['one\\r\\n', 'two\\n', '\\n', 'three'] ['one\\r', 'two', '', 'three'] ('a', ',', 'b') ('a,b', ',', 'c') ('ab', '', '')",
    ],
    [
      "{{'xxaxx'.strip('x')}} {{'abcba'.lstrip('ab')}} {{'abcba'.rstrip('ab')}} {{' x '.lstrip()}}| {{' x '.rstrip()}}| {{'pre-x'.removeprefix('pre-')}} {{'x.txt'.removesuffix('.txt')}}",
      'a cba abc x |  x| x x',
    ],
    [
      "{{text.replace('o','0')}} {{text.replace('o','0',1)}} {{'abc'.replace('','-')}} {{'abc'.startswith('a')}} {{'abc'.startswith(('x','a'))}} {{'abc'.endswith('bc')}} {{'abc'.startswith('b',1)}}",
      'the quick br0wn-f0x (jumps) the quick br0wn-fox (jumps) -a-b-c- True True True True',
    ],
    [
      "{{'abcabc'.find('c')}} {{'abcabc'.rfind('c')}} {{'abc'.find('z')}} {{'abcabc'.index('c')}} {{'abcabc'.count('bc')}} {{'aaa'.count('')}} {{', '.join(choices.text)}}",
      '2 5 -1 2 2 4 red, green, blue',
    ],
    [
      "{{'abc'.upper()}} {{'ABC'.lower()}} {{'aBc'.swapcase()}} {{'hello WORLD'.title()}} {{'hello WORLD'.capitalize()}} {{'ß'.casefold()}} {{'abc'.center(8,'*')}} {{'abc'.ljust(5,'.')}} {{'abc'.rjust(5,'.')}} {{'-42'.zfill(5)}} {{'a\\tb'.expandtabs(4)}}",
      'ABC abc AbC Hello World Hello world ss **abc*** abc.. ..abc -0042 a   b',
    ],
    [
      "{{'abc'.isalpha()}} {{'a1'.isalnum()}} {{'12'.isdigit()}} {{'²'.isdigit()}} {{'½'.isnumeric()}} {{'²'.isdecimal()}} {{' '.isspace()}} {{''.isspace()}} {{'abc'.islower()}} {{'A1'.isupper()}} {{'Hello World'.istitle()}} {{'a_1'.isidentifier()}} {{'é'.isascii()}}",
      'True True True True True False True False True True True True False',
    ],
    [
      "{{'{} and {}'.format('a',1.0)}} {{'{0}{1}{0}'.format('a','b')}} {{'{x}'.format(x=5)}} {{'{!r}'.format('a')}} {{'{0[1]}'.format([1,2])}} {{'{0[k]}'.format({'k':'v'})}} {{'{:{}}|'.format('a',5)}} {{'{{}}'.format()}}",
      "a and 1.0 aba 5 'a' 2 v a    | {}",
    ],
    [
      "{{'{:.2f}'.format(3.14159)}} {{'{:>8}|{:<8}|{:^8}'.format('a','b','c')}} {{'{:05d}'.format(42)}} {{'{:,}'.format(1234567)}} {{'{:_}'.format(1234567.5)}} {{'{:.1%}'.format(0.123)}} {{'{:e}'.format(12345.678)}} {{'{:g}'.format(0.00001)}} {{'{:x} {:X} {:o} {:b} {:#x}'.format(255,255,8,5,255)}} {{'{:+d}'.format(5)}} {{'{:*^9}'.format('mid')}} {{'{:.3}'.format('abcdef')}} {{'{:d}'.format(true)}} {{'{:010,}'.format(1234)}} {{'{:.0f}'.format(2.5)}} {{'{:08.2f}'.format(-3.14159)}}",
      '3.14        a|b       |   c     00042 1,234,567 1_234_567.5 12.3% 1.234568e+04 1e-05 ff FF 10 101 0xff +5 ***mid*** abc 1 00,001,234 2 -0003.14',
    ],
    [
      "{{'%s is %d' % ('a',3.9)}} {{'%.2f' % 2.675}} {{'%5s|%-5s|' % ('a','b')}} {{'%05d' % 42}} {{'%x' % 255}} {{'%r' % 'a'}} {{'%(k)s' % {'k':'v'}}} {{'%e' % 12345.678}} {{'%g' % 0.0001}} {{'%+d' % 5}} {{'%s' % nothing}} {{'%*d' % (5,42)}}",
      "a is 3 2.67     a|b    | 00042 ff 'a' v 1.234568e+04 0.0001 +5 None    42",
    ],
    [
      "{{nums.index(10)}} {{['a','b','a'].count('a')}} {{(1,2).index(2)}} {{dict.get('zz')}} {{dict.get('zz','d')}} {{dict.get('10','d')}} {{choices['keys']()|list}} {{question['strip']()}}",
      "3 2 1 None d None ['text', 'label'] What's \"it\"?",
    ],
    [
      '{% set l = [1] %}{% set _ = l.append(2) %}{% set _ = l.extend([3,4]) %}{% set _ = l.insert(0,0) %}{{l}} {{l.pop()}} {{l.pop(0)}} {% set _ = l.reverse() %}{{l}} {% set _ = l.sort() %}{{l}} {% set _ = l.remove(2) %}{{l}} {{l.append(5)}} {{l.copy()}}',
      '[0, 1, 2, 3, 4] 4 0 [3, 2, 1] [1, 2, 3] [1, 3] None [1, 3, 5]',
    ],
    [
      "{% set d = {} %}{% set _ = d.update({'a':1}) %}{% set _ = d.update(b=2) %}{{d}} {{d.pop('a')}} {{d.setdefault('c',3)}} {{d.pop('zz',none)}} {{d.popitem()}} {{d}}",
      "{'a': 1, 'b': 2} 1 3 None ('c', 3) {'b': 2}",
    ],
  ],
  statements: [
    [
      "{% for i in range(choices.text|length) %}{{'ABCD'[i]}}. {{choices.text[i]}} {% endfor %}",
      'A. red B. green C. blue ',
    ],
    [
      '{% for c in choices.text %}{{loop.index}}/{{loop.length}} {{loop.index0}} {{loop.revindex}} {{loop.revindex0}} {{loop.first}} {{loop.last}} {{c}}{% if not loop.last %}, {% endif %}{% endfor %}',
      '1/3 0 3 2 True False red, 2/3 1 2 1 False False green, 3/3 2 1 0 False True blue',
    ],
    [
      '{% for k, v in dict.items() %}{{k}}={{v}};{% endfor %} {% for k in dict %}{{k}}{% endfor %} {% for (a, b), c in [((1,2),3)] %}{{a}}{{b}}{{c}}{% endfor %}',
      'b=1;a=x;10=None;1=[]; ba101 123',
    ],
    [
      '{% for i in nums if i > 1 %}{{i}},{% else %}none{% endfor %} {% for i in [] %}x{% else %}empty{% endfor %}',
      '3,2,10, empty',
    ],
    [
      "{% for x in [1,2,1,1] %}{{loop.changed(x)}}{{loop.cycle('a','b')}}{{loop.previtem is defined}}{{loop.nextitem|default('end')}} {% endfor %}",
      'TrueaFalse2 TruebTrue1 TrueaTrue1 FalsebTrueend ',
    ],
    [
      '{% for item in [[1,[2,[3,[]]]]] recursive %}{{item[0]}}({{loop.depth}}){% if item[1] %}{{loop([item[1]])}}{% endif %}{% endfor %}',
      '1(1)2(2)3(3)',
    ],
    [
      '{% set z = 0 %}{% for i in [1,2] %}{% set z = z + i %}{{z}}{% endfor %}{{z}} {% set ns = namespace(t=0) %}{% for i in nums %}{% set ns.t = ns.t + i %}{% endfor %}{{ns.t}}',
      '120 11',
    ],
    [
      '{% set x = 5 %}{{x}} {% set y %}block {{x}}{% endset %}{{y}} {% set a, b = 1, 2 %}{{a}}{{b}} {% set q | upper %}abc{% endset %}{{q}}',
      '5 block 5 12 ABC',
    ],
    [
      "{% if nothing is none %}none{% endif %} {% if zzz is defined %}yes{% elif n == 7 %}seven{% else %}no{% endif %} {% if [] or {} or '' or 0 or 0.0 %}t{% else %}f{% endif %}",
      'none seven f',
    ],
    [
      '{% macro f(a, b=2) %}[{{a}}-{{b}}]{% endmacro %}{{f(1)}} {{f(1,3)}} {{f(b=1,a=none)}} {% macro g() %}{{varargs}}{{kwargs}}{% endmacro %}{{g(1,2,x=3)}}',
      "[1-2] [1-3] [None-1] (1, 2){'x': 3}",
    ],
    [
      "{% macro h(t) %}<{{t}}>{{caller()}}</{{t}}>{% endmacro %}{% call h('b') %}in{% endcall %} {% filter upper %}abc {{n}}{% endfilter %} {% with a = 1, b = 2 %}{{a}}{{b}}{% endwith %}",
      '<b>in</b> ABC 7 12',
    ],
    [
      "{{cycler('a','b').next()}} {% set j = joiner('|') %}{% for i in [1,2,3] %}{{j()}}{{i}}{% endfor %} {{dict is mapping}} {% print 1, 2 %}",
      'a 1|2|3 True 12',
    ],
    [
      "{{'A' if label == 0 else 'B' if label == 1 else 'C'}} {{body if body is defined}}| {{answer if few_shot is undefined else solution}}",
      'B | so #### 42 ',
    ],
    [
      "{{5 is odd}} {{4 is even}} {{9 is divisibleby 3}} {{'a' is string}} {{1 is number}} {{true is integer}} {{1.0 is float}} {{[] is sequence}} {{5 is iterable}} {{'abc' is lower}} {{1 is sameas true}} {{2 is in [1,2]}} {{2 is not in [1]}} {{'upper' is filter}} {{3 is not even}} {{2 is gt 1}}",
      'True True True True True False True True False True False True True True True True',
    ],
    ['{% raw %}{{not}} {% this %}{% endraw %}{# comment #}x{#- c -#} y', '{{not}} {% this %}xy'],
  ],
};

/** White space: as lm-eval sets it, and with `trim_blocks` and `lstrip_blocks` as transformers does for chats. */
export const SPACES: readonly (readonly [template: string, kept: string, trimmed: string])[] = [
  ['a\n\n{% for x in [1,2] %}\n  {{ x }}\n{% endfor %}\n\n', 'a\n\n\n  1\n\n  2\n\n\n', 'a\n\n  1\n  2\n'],
  ['{%- for x in [1,2] -%}\n {{ x }} \n{%- endfor -%}\n', '12', '12'],
  ['a\r\nb\rc\n', 'a\nb\nc\n', 'a\nb\nc'],
  ['x\n\n', 'x\n\n', 'x\n'],
  ['a {{- 1 -}} b {{ 2 -}}\n c', 'a1b 2c', 'a1b 2c'],
  ['  {% if true %}\n    x\n  {% endif %}\ny\n', '  \n    x\n  \ny\n', '    x\ny'],
  ['\t{%+ if true %}\na{% endif +%}\nb', '\t\na\nb', '\ta\nb'],
  ['  {% raw %}\n  {{ x }}\n  {% endraw %}\nz', '  \n  {{ x }}\n  \nz', '\n  {{ x }}\nz'],
  ['{# c #}\nx\n  {# d #}\n', '\nx\n  \n', 'x\n'],
  ["{{ {'a': {'b': 1}}}}", "{'a': {'b': 1}}", "{'a': {'b': 1}}"],
  ['\u3000{{- 1 -}}\u3000x', '1x', '1x'],
];
