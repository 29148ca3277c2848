"""PyTorch side of `npm run bench -- versus --work ops`: the same ops at the same shapes on a GPU, as fast as a user gets them.

Products are cuBLAS's (bmm), attention is flash or cuDNN, what has no kernel of its own is compiled by torch.compile. Names are
those of bench/ops. Prints a line for each op, and last one of JSON: milliseconds by name.

  pytorch_ops.py [--rows 8192] [--members 4] [--steps 5] [--device cuda]
"""
import argparse, json, time
import torch, torch.nn as nn, torch.nn.functional as F
import torch._functorch.config
from torch.nn.attention import SDPBackend, sdpa_kernel

C, FF, V = 3072, 8192, 32000
CACHED_BYTES = 2**28  # what one run touches must not lie in a cache when the next one comes

ap = argparse.ArgumentParser()
ap.add_argument("--rows", type=int, default=8192); ap.add_argument("--members", type=int, default=4)
ap.add_argument("--steps", type=int, default=5); ap.add_argument("--device", default="cuda")
ap.add_argument("--matrices", type=int, default=28); ap.add_argument("--vocabulary", type=int, default=V)
a = ap.parse_args()
N, M, V, dev, bf16 = a.rows, a.members, a.vocabulary, torch.device(a.device), torch.bfloat16
gpu = dev.type == "cuda"
# A backward pass is measured alone, again and again over what its forward kept.
torch._functorch.config.donated_buffer = False
torch.manual_seed(0)


def normal(*shape, deviation=1.0, dtype=bf16, grad=False):
    return (torch.randn(*shape, device=dev, dtype=dtype) * deviation).requires_grad_(grad)


def seconds_of(runs, steps):
    """The median of runs long enough that launches do not count."""
    def repeat(times):
        if gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
        else:
            began = time.perf_counter()
        for i in range(times):
            runs[i % len(runs)]()
        if gpu:
            end.record(); end.synchronize()
            return begin.elapsed_time(end) / 1000 / times
        return (time.perf_counter() - began) / times
    repeat(len(runs)); repeat(len(runs))
    times = max(len(runs), int(0.02 / repeat(len(runs))) + 1)
    measured = sorted(repeat(times) for _ in range(steps + 1))
    return measured[len(measured) // 2]


milliseconds = {}


def bench(name, *ways):
    """Each way makes its tensors and returns what runs; the fastest counts."""
    for make in ways:
        torch.compiler.reset()  # nothing is compiled for shapes that came before
        try:
            before = torch.cuda.memory_allocated() if gpu else 0
            first = make()
            touched = (torch.cuda.memory_allocated() if gpu else CACHED_BYTES) - before
            runs = [first] + [make() for _ in range(-(-CACHED_BYTES // max(1, touched)) - 1)]
            ms = 1000 * seconds_of(runs, a.steps)
        except Exception as error:  # what this version or this GPU has not
            print(f"{name}: {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        milliseconds[name] = round(min(ms, milliseconds.get(name, ms)), 4)
        del first, runs
    if name in milliseconds:
        print(f"{name:56s} {milliseconds[name]:9.4f} ms", flush=True)


def weights(outputs, inputs):
    return normal(M, outputs, inputs, deviation=inputs**-0.5)


def linear(rows, inputs, outputs):
    x, w = normal(M, rows, inputs), weights(outputs, inputs).transpose(1, 2)
    return lambda: torch.bmm(x, w)


def gated(rows, compiled):
    def both(x, gate, up):
        return F.silu(torch.bmm(x, gate)) * torch.bmm(x, up)
    run = torch.compile(both) if compiled else both
    x, gate, up = normal(M, rows, C), weights(FF, C).transpose(1, 2), weights(FF, C).transpose(1, 2)
    return lambda: run(x, gate, up)


def input_gradient(inputs, outputs):
    dy, w = normal(M, N, outputs), weights(outputs, inputs)
    return lambda: torch.bmm(dy, w)


def weight_gradient(inputs, outputs):
    dy, x = normal(M, N, outputs).transpose(1, 2), normal(M, N, inputs)
    return lambda: torch.bmm(dy, x)


def products():
    for i, o in ((C, C), (C, FF), (FF, C)):
        bench(f"linear_forward {i}->{o}", lambda: linear(N, i, o))
    bench(f"swiglu_linear {C}->{FF}", lambda: gated(N, False), lambda: gated(N, True))
    for i, o in ((C, C), (C, FF), (FF, C)):
        bench(f"linear_backward_input {i}->{o}", lambda: input_gradient(i, o))
    for i, o in ((C, C), (C, FF)):
        bench(f"linear_backward_weight {i}->{o}", lambda: weight_gradient(i, o))
    for n in (1, 4, 16, 64):
        few = f"{n} row{'s' if n > 1 else ''}"
        bench(f"linear_forward {C}->{FF}, {few}", lambda: linear(n, C, FF))
        bench(f"swiglu_linear {C}->{FF}, {few}", lambda: gated(n, False), lambda: gated(n, True))
        bench(f"linear_forward {FF}->{C}, {few}", lambda: linear(n, FF, C))


def attention():
    eighth = max(1, N // 8)
    for width in (128, 64):
        heads = C // width
        for batch, tokens, keys in ((1, N, 1), (N // eighth, eighth, 1), (N // eighth, eighth, 8)):
            label = f"{batch} x {tokens}, {heads} heads of {width}, {keys} of keys"

            def tensors(backend, backward):
                q, dout = (normal(M * batch, heads, tokens, width, grad=backward) for _ in range(2))
                k, v = (normal(M * batch, keys, tokens, width, grad=backward) for _ in range(2))

                def forward():
                    with sdpa_kernel(backend):
                        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                if not backward:
                    def run():
                        with torch.no_grad():
                            forward()
                    return run
                out = forward()
                return lambda: torch.autograd.grad(out, (q, k, v), dout.detach(), retain_graph=True)
            backends = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION) if gpu else (SDPBackend.FLASH_ATTENTION,)
            bench(f"attention_forward {label}", *(lambda b=b: tensors(b, False) for b in backends))
            bench(f"attention_backward {label}", *(lambda b=b: tensors(b, True) for b in backends))


class Stitch(nn.Module):
    """Weights in f32, products in bf16, as autocast has them."""

    def __init__(s, into_hub, gates):
        super().__init__()
        s.into_hub, s.gates = into_hub, gates
        s.gate = nn.Linear(C, M * gates, False)
        s.proj = nn.ModuleList(nn.Linear(C, C, False) for _ in range(M - 1))

    def forward(s, h):
        g = s.gate(h[0]).unflatten(-1, (M, s.gates))
        if s.into_hub:
            g = g.softmax(-2)
            out = g[..., 0, :] * h[0]
            for i, w in enumerate(s.proj):
                out = out + g[..., i + 1, :] * w(h[i + 1])
            return out
        g = g.sigmoid()
        return torch.stack([h[0]] + [torch.lerp(h[i + 1], w(h[0]), g[..., i + 1, :]) for i, w in enumerate(s.proj)])


def stitches():
    for gates, label in ((C, "channel"), (1, "scalar")):
        for into_hub, name in ((True, "experts_into_hub"), (False, "hub_into_experts")):
            def tensors(compiled, backward):
                stitch = Stitch(into_hub, gates).to(dev)
                run = torch.compile(stitch) if compiled else stitch
                h = normal(M, N, C, grad=backward)

                def forward():
                    with torch.autocast(dev.type, bf16):
                        return run(h)
                if not backward:
                    def alone():
                        with torch.no_grad():
                            forward()
                    return alone
                out = forward()
                dout = torch.randn_like(out)
                return lambda: torch.autograd.grad(out, (h, *stitch.parameters()), dout, retain_graph=True)
            bench(f"{name}_forward {label}", *(lambda c=c: tensors(c, False) for c in (False, True)))
            bench(f"{name}_backward {label}", *(lambda c=c: tensors(c, True) for c in (False, True)))


def compiled(f, make, backward=False):
    """What runs f, compiled, over the tensors that `make` gives, or its gradient with regard to them."""
    def tensors():
        run, args = torch.compile(f), make()
        if not backward:
            def alone():
                with torch.no_grad():
                    run(*args)
            return alone
        y = run(*args)
        dy = torch.randn_like(y)
        wanted = [x for x in args if x.requires_grad]
        return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)
    return tensors


def elementwise():
    def rms(x, w):
        return F.rms_norm(x, (C,), w, 1e-5)

    def swiglu(gate, up):
        return F.silu(gate) * up

    def rope(x, cos, sin):
        low, high = x.chunk(2, -1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1).to(x.dtype)

    def losses(logits, targets):
        return F.cross_entropy(logits.float(), targets, reduction="none")
    targets = (torch.arange(N, device=dev) * 7919) % V
    bench("rms_norm_forward", compiled(rms, lambda: (normal(M, N, C), normal(C))))
    bench("rms_norm_backward_input", compiled(rms, lambda: (normal(M, N, C, grad=True), normal(C)), True))
    bench("swiglu_forward", compiled(swiglu, lambda: (normal(M, N, FF), normal(M, N, FF))))
    bench("swiglu_backward", compiled(swiglu, lambda: (normal(M, N, FF, grad=True), normal(M, N, FF, grad=True)), True))
    angles = normal(N, 1, 64, dtype=torch.float32)
    bench("rope", compiled(rope, lambda: (normal(M, 1, N, C // 128, 128), angles.cos(), angles.sin())))
    bench("cross_entropy_forward", compiled(losses, lambda: (normal(N, V), targets)))
    bench("cross_entropy_backward", compiled(losses, lambda: (normal(N, V, grad=True), targets), True))


def optimizer():
    def matrices():
        return [normal(C, C, deviation=0.02, dtype=torch.float32) for _ in range(a.matrices)]

    def adamw():
        parameters = [nn.Parameter(p) for p in matrices()]
        for p, g in zip(parameters, matrices()):
            p.grad = g
        return torch.optim.AdamW(parameters, fused=True).step

    def norm():
        gradients = matrices()
        return lambda: torch.nn.utils.get_total_norm(gradients)
    bench("adamw", adamw)
    bench("global_norm", norm)


products(); attention(); stitches() if M > 1 else None; elementwise(); optimizer()
print(json.dumps(dict(peer="pytorch " + torch.__version__, card=torch.cuda.get_device_name() if gpu else "cpu",
                      peak_mib=torch.cuda.max_memory_allocated() >> 20 if gpu else 0, ms=milliseconds)))
