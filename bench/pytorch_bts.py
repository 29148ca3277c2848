"""PyTorch side of the speed comparison: plain-torch Llama models, stitched as in the paper.

What it runs is what `npm run bench` runs: one BTS training step (forward, backward to the stitch layers only,
clip, AdamW), or KV-cached greedy decoding. Needs torch >= 2.0 and nothing else. Prints one JSON line.

  pytorch_bts.py step   --size tiny|small|paper-slice [--dtype float32|bfloat16] [--threads N] [--compile]
  pytorch_bts.py stitch --size ...      one Experts-into-Hub layer alone, forward and backward
  pytorch_bts.py decode --size ...      batch 1, 64-token prompt, 64 new tokens
  pytorch_bts.py matmul                 512 x 3072 times 3072 x 3072
"""
import argparse, json, os, resource, time
import torch, torch.nn as nn, torch.nn.functional as F

#            width layers ffn  heads kv  vocab batch tokens
SIZES = {
    "tiny":        (256, 8, 688, 8, 2, 4096, 8, 256),
    "small":       (768, 12, 2048, 12, 4, 8192, 1, 512),
    "paper-slice": (3072, 4, 8192, 24, 1, 4096, 1, 256),  # four layers of the paper's 2.7B models
    "gpu-small":   (768, 12, 2048, 12, 4, 8192, 16, 512),
    "gpu-slice":   (3072, 4, 8192, 24, 1, 32000, 4, 2048),
    "gpu-paper":   (3072, 20, 8192, 24, 1, 32000, 1, 4096),  # all twenty layers
}


class Layer(nn.Module):
    def __init__(s, d, f, H, K):
        super().__init__()
        s.H, s.K, s.D = H, K, d // H
        s.n1, s.n2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        s.q, s.k, s.v, s.o = (nn.Linear(d, H * s.D, False), nn.Linear(d, K * s.D, False),
                              nn.Linear(d, K * s.D, False), nn.Linear(H * s.D, d, False))
        s.g, s.u, s.dn = nn.Linear(d, f, False), nn.Linear(d, f, False), nn.Linear(f, d, False)

    def forward(s, x, cos, sin, cache=None):
        B, T, d = x.shape
        h = rms(x, s.n1)
        q, k, v = (w(h).view(B, T, n, s.D).transpose(1, 2) for w, n in ((s.q, s.H), (s.k, s.K), (s.v, s.K)))
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        if cache is not None:
            k = cache["k"] = torch.cat([cache["k"], k], 2) if "k" in cache else k
            v = cache["v"] = torch.cat([cache["v"], v], 2) if "v" in cache else v
        if s.K != s.H:
            k, v = (t.repeat_interleave(s.H // s.K, 1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + s.o(a.transpose(1, 2).reshape(B, T, -1))
        h = rms(x, s.n2)
        return x + s.dn(F.silu(s.g(h)) * s.u(h))


def rms(x, w):
    return F.rms_norm(x, (x.shape[-1],), w, 1e-5) if hasattr(F, "rms_norm") else x * torch.rsqrt(x.float().pow(2).mean(-1, True) + 1e-5).to(x) * w


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Model(nn.Module):
    def __init__(s, d, L, f, H, K, V):
        super().__init__()
        s.emb, s.head, s.norm = nn.Embedding(V, d), nn.Linear(d, V, False), nn.Parameter(torch.ones(d))
        s.layers = nn.ModuleList(Layer(d, f, H, K) for _ in range(L))


class Stitch(nn.Module):
    def __init__(s, into_hub, n, d):
        super().__init__()
        s.into_hub, s.n, s.d = into_hub, n, d
        s.gate = nn.Linear(d, (n + 1) * d, False)
        s.proj = nn.ModuleList(nn.Linear(d, d, False) for _ in range(n))

    def forward(s, hs):
        g = s.gate(hs[0]).unflatten(-1, (s.n + 1, s.d))
        if s.into_hub:
            g = g.softmax(-2)
            p = [w(h) for w, h in zip(s.proj, hs[1:])]
            out = g[..., 0, :] * hs[0]
            for i, q in enumerate(p):
                out = out + g[..., i + 1, :] * q
            return [out] + p
        g = g.sigmoid()
        return [hs[0]] + [torch.lerp(h, w(hs[0]), g[..., i + 1, :]) for i, (w, h) in enumerate(zip(s.proj, hs[1:]))]


class BTS(nn.Module):
    def __init__(s, size, n, S, dt):
        super().__init__()
        d, L, f, H, K, V, B, T = size
        s.models = nn.ModuleList(Model(d, L, f, H, K, V).to(dt).requires_grad_(False) for _ in range(n + 1))
        s.st = nn.ModuleList(Stitch((S - 1 - k) % 2 == 0, n, d) for k in range(S))
        s.every, s.L, s.D, s.dt = L // S, L, d // H, dt

    def forward(s, ids, start=0, caches=None):
        T = ids.shape[1]
        ang = torch.arange(start, start + T)[:, None] * (500000.0 ** (-torch.arange(0, s.D, 2) / s.D))[None]
        cos, sin = (t.repeat(1, 2).to(s.dt) for t in (ang.cos(), ang.sin()))
        hs = [m.emb(ids) for m in s.models]
        for j in range(s.L):
            hs = [m.layers[j](h, cos, sin, caches[i][j] if caches else None) for i, (m, h) in enumerate(zip(s.models, hs))]
            if (j + 1) % s.every == 0:
                hs = [h.to(s.dt) for h in s.st[(j + 1) // s.every - 1]([h.float() for h in hs])]
        hub = s.models[0]
        return hub.head(rms(hs[0], hub.norm))


def median(f, steps):
    ts = []
    for _ in range(steps + 2):
        t = time.perf_counter(); f(); ts.append(time.perf_counter() - t)
    return sorted(ts[2:])[len(ts[2:]) // 2]


ap = argparse.ArgumentParser()
ap.add_argument("what", choices=["step", "stitch", "decode", "matmul"]); ap.add_argument("--size", default="tiny", choices=SIZES)
ap.add_argument("--dtype", default="float32"); ap.add_argument("--threads", type=int, default=2); ap.add_argument("--steps", type=int, default=5)
ap.add_argument("--experts", type=int, default=3); ap.add_argument("--stitches", type=int, default=4); ap.add_argument("--compile", action="store_true")
a = ap.parse_args()
torch.set_num_threads(a.threads); torch.manual_seed(0)
size, dt = SIZES[a.size], getattr(torch, a.dtype)
d, L, f, H, K, V, B, T = size
row = dict(peer="pytorch " + torch.__version__, what=a.what, size=a.size, dtype=a.dtype, threads=a.threads, compile=a.compile, isa=os.environ.get("ONEDNN_MAX_CPU_ISA", torch.backends.cpu.get_cpu_capability()).lower())
if a.what == "matmul":
    x, w = torch.randn(512, 3072).to(dt), torch.randn(3072, 3072).to(dt)
    row["matmul_s"] = round(median(lambda: F.linear(x, w), a.steps), 6)
elif a.what == "stitch":
    st = Stitch(True, a.experts, d)
    hs = [torch.randn(B, T, d, requires_grad=True) for _ in range(a.experts + 1)]
    run = torch.compile(st) if a.compile else st
    with torch.no_grad():
        row["forward_s"] = round(median(lambda: run(hs), a.steps), 5)
    def fb():
        for h in hs: h.grad = None
        st.zero_grad(); run(hs)[0].sum().backward()
    row["forward_backward_s"] = round(median(fb, a.steps), 5)
else:
    net = BTS(size, a.experts, a.stitches, dt)
    if a.what == "step":
        opt = torch.optim.AdamW(net.st.parameters(), lr=1e-4, fused=True)
        run = torch.compile(net) if a.compile else net
        ids, y = torch.randint(0, V, (B, T)), torch.randint(0, V, (B, T))
        def step():
            opt.zero_grad()
            F.cross_entropy(run(ids).view(-1, V).float(), y.view(-1)).backward()
            torch.nn.utils.clip_grad_norm_(net.st.parameters(), 1.0); opt.step()
        s = median(step, a.steps)
        row.update(step_s=round(s, 4), tok_s=round(B * T / s, 1))
    else:
        ids = torch.randint(0, V, (1, 64))
        def gen():
            with torch.no_grad():
                caches = [[{} for _ in range(L)] for _ in range(a.experts + 1)]
                t0 = time.perf_counter(); nxt = net(ids, 0, caches)[:, -1].argmax(-1, keepdim=True); t1 = time.perf_counter()
                for i in range(64):
                    nxt = net(nxt, 64 + i, caches)[:, -1].argmax(-1, keepdim=True)
                gen.out.append((64 / (t1 - t0), 64 / (time.perf_counter() - t1)))
        gen.out = []
        median(gen, max(3, a.steps // 2))
        o = sorted(gen.out[2:], key=lambda r: r[1])[len(gen.out[2:]) // 2]
        row.update(prefill_tok_s=round(o[0], 1), decode_tok_s=round(o[1], 2))
row["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps(row))
