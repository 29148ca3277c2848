"""PyTorch side of the speed comparison: plain-torch Llama models, stitched as in the paper.

What it runs is what `npm run bench` runs: one BTS training step (forward, backward to the stitch layers only,
clip, AdamW), or KV-cached greedy decoding. Needs torch >= 2.5 and nothing else. Prints one JSON line.

On a GPU weights of the stitches are f32 and autocast multiplies them in bf16. `--compile` compiles the model, `--compile layers`
its layers and stitches one by one, which takes seconds where the paper's full size would take many minutes; decoding then has a
cache of fixed size, and a token is one CUDA graph.

  pytorch_bts.py step   --size tiny|small|... [--dtype float32|bfloat16] [--device cpu|cuda] [--compile [layers]]
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

    def forward(s, x, cos, sin, cache=None, at=None, seen=None):
        B, T, d = x.shape
        h = rms(x, s.n1)
        q, k, v = (w(h).view(B, T, n, s.D).transpose(1, 2) for w, n in ((s.q, s.H), (s.k, s.K), (s.v, s.K)))
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        if at is not None:
            k, v = (cache[n].index_copy_(2, at, t.to(cache[n].dtype)) for n, t in (("k", k), ("v", v)))
        elif cache is not None:
            k = cache["k"] = torch.cat([cache["k"], k], 2) if "k" in cache else k
            v = cache["v"] = torch.cat([cache["v"], v], 2) if "v" in cache else v
        if s.K != s.H and not GPU:
            k, v = (t.repeat_interleave(s.H // s.K, 1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=T > 1, enable_gqa=GPU)
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

    def forward(s, ids, start=0, caches=None, at=None, seen=None):
        T = ids.shape[1]
        positions = torch.arange(start, start + T, device=ids.device) if at is None else at
        ang = positions[:, None] * (500000.0 ** (-torch.arange(0, s.D, 2, device=ids.device) / s.D))[None]
        cos, sin = (t.repeat(1, 2).to(s.dt) for t in (ang.cos(), ang.sin()))
        hs = [m.emb(ids) for m in s.models]
        for j in range(s.L):
            hs = [m.layers[j](h, cos, sin, caches[i][j] if caches else None, at, seen) for i, (m, h) in enumerate(zip(s.models, hs))]
            if (j + 1) % s.every == 0:
                hs = hs if GPU else [h.float() for h in hs]
                hs = [h.to(s.dt) for h in s.st[(j + 1) // s.every - 1](hs)]
        hub = s.models[0]
        return hub.head(rms(hs[0], hub.norm))


def wait():
    if GPU:
        torch.cuda.synchronize()


def autocast():
    return torch.autocast("cuda", torch.bfloat16, enabled=GPU)


def median(f, steps):
    ts = []
    for _ in range(steps + 3):
        wait(); t = time.perf_counter(); f(); wait(); ts.append(time.perf_counter() - t)
    return sorted(ts[3:])[len(ts[3:]) // 2]


def compiled(net, how):
    if how == "whole":
        return torch.compile(net)
    for part in [l for m in net.models for l in m.layers] + list(net.st):
        part.compile()
    return net


PROMPT = CONTINUED = 64


def growing_cache(net, ids, L, members):
    """Prefill, then tokens one by one, with caches that grow: seconds of both."""
    caches = [[{} for _ in range(L)] for _ in range(members)]
    wait(); t0 = time.perf_counter(); nxt = net(ids, 0, caches)[:, -1].argmax(-1, keepdim=True); wait(); t1 = time.perf_counter()
    for i in range(CONTINUED):
        nxt = net(nxt, PROMPT + i, caches)[:, -1].argmax(-1, keepdim=True)
    wait()
    return t1 - t0, time.perf_counter() - t1


class FixedCache:
    """The same with caches of fixed size, so that a token is one CUDA graph."""

    def __init__(s, net, ids, L, members, K, D):
        s.net, s.ids = net, ids
        s.caches = [[{n: torch.zeros(1, K, PROMPT + CONTINUED, D, dtype=net.dt, device=ids.device) for n in "kv"} for _ in range(L)] for _ in range(members)]
        s.at, s.token = torch.zeros(1, dtype=torch.long, device=ids.device), torch.zeros(1, 1, dtype=torch.long, device=ids.device)
        s.slots = torch.arange(PROMPT + CONTINUED, device=ids.device)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                s.step()
        torch.cuda.current_stream().wait_stream(side)
        s.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(s.graph):
            s.step()

    def step(s):
        seen = (s.slots <= s.at)[None, None, None]
        s.token.copy_(s.net(s.token, 0, s.caches, s.at, seen)[:, -1].argmax(-1, keepdim=True))
        s.at += 1

    def run(s):
        wait(); t0 = time.perf_counter()
        grown = [[{} for _ in layers] for layers in s.caches]
        s.token.copy_(s.net(s.ids, 0, grown)[:, -1].argmax(-1, keepdim=True))
        for layers, new in zip(s.caches, grown):
            for cache, filled in zip(layers, new):
                for n in "kv":
                    cache[n][:, :, :PROMPT] = filled[n]
        s.at.fill_(PROMPT); wait(); t1 = time.perf_counter()
        for _ in range(CONTINUED):
            s.graph.replay()
        wait()
        return t1 - t0, time.perf_counter() - t1


ap = argparse.ArgumentParser()
ap.add_argument("what", choices=["step", "stitch", "decode", "matmul"]); ap.add_argument("--size", default="tiny", choices=SIZES)
ap.add_argument("--dtype", default="float32"); ap.add_argument("--threads", type=int, default=2); ap.add_argument("--steps", type=int, default=5)
ap.add_argument("--experts", type=int, default=3); ap.add_argument("--stitches", type=int, default=4); ap.add_argument("--device", default="cpu")
ap.add_argument("--compile", nargs="?", const="whole", choices=["whole", "layers"])
a = ap.parse_args()
GPU = a.device != "cpu"
torch.set_num_threads(a.threads); torch.manual_seed(0); torch.set_default_device(a.device)
size, dt = SIZES[a.size], getattr(torch, a.dtype)
d, L, f, H, K, V, B, T = size
row = dict(peer="pytorch " + torch.__version__, what=a.what, size=a.size, dtype=a.dtype, threads=a.threads, compile=bool(a.compile))
if GPU:
    row["card"] = torch.cuda.get_device_name()
else:
    row["isa"] = os.environ.get("ONEDNN_MAX_CPU_ISA", torch.backends.cpu.get_cpu_capability()).lower()
if a.what == "matmul":
    x, w = torch.randn(512, 3072).to(dt), torch.randn(3072, 3072).to(dt)
    row["matmul_s"] = round(median(lambda: F.linear(x, w), a.steps), 6)
elif a.what == "stitch":
    st = Stitch(True, a.experts, d)
    hs = [torch.randn(B, T, d, dtype=torch.bfloat16 if GPU else torch.float32, requires_grad=True) for _ in range(a.experts + 1)]
    run = torch.compile(st) if a.compile else st
    def forward():
        with autocast():
            return run(hs)[0]
    with torch.no_grad():
        row["forward_s"] = round(median(forward, a.steps), 5)
    def fb():
        for h in hs: h.grad = None
        st.zero_grad(); forward().sum().backward()
    row["forward_backward_s"] = round(median(fb, a.steps), 5)
else:
    net = BTS(size, a.experts, a.stitches, dt)
    if GPU:
        torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
    if a.what == "step":
        opt = torch.optim.AdamW(net.st.parameters(), lr=1e-4, fused=True)
        run = compiled(net, a.compile) if a.compile else net
        ids, y = torch.randint(0, V, (B, T)), torch.randint(0, V, (B, T))
        def step():
            opt.zero_grad()
            with autocast():
                loss = F.cross_entropy(run(ids).view(-1, V).float(), y.view(-1))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.st.parameters(), 1.0); opt.step()
        s = median(step, a.steps)
        row.update(step_s=round(s, 4), tok_s=round(B * T / s, 1))
    else:
        ids = torch.randint(0, V, (1, PROMPT))
        with torch.no_grad(), autocast():
            if a.compile:
                for layer in (l for m in net.models for l in m.layers):
                    layer.compile()  # stitches keep their weights cast to bf16 in autocast's own cache
                run = FixedCache(net, ids, L, a.experts + 1, K, d // H).run
            else:
                run = lambda: growing_cache(net, ids, L, a.experts + 1)
            took = sorted((run() for _ in range(max(3, a.steps // 2) + 2)), key=lambda r: r[1])
        prefill, decode = took[(len(took) - 1) // 2]
        row.update(prefill_tok_s=round(PROMPT / prefill, 1), decode_tok_s=round(CONTINUED / decode, 2))
if GPU:
    row["gpu_peak_mib"] = torch.cuda.max_memory_allocated() >> 20
row["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps(row))
