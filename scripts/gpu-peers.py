#!/usr/bin/env python3
"""What PyTorch reaches on the same GPU, beside our figures: cuBLAS products, scaled_dot_product_attention, and the
decode step of transformers with a static cache in a CUDA graph (or compiled), on Llama-3.1-8B with random weights.

  scripts/gpu-peers.py [--report gpu-check.json] [--out gpu-peers.json] [--seconds S] [--measured FILE]

Reads our figures from a report of gpu-check. Prints a table and, last, one JSON object; --out writes it too.
--measured compares with what an earlier run measured, and needs no PyTorch. Without PyTorch or a GPU it says so and
ends with code 0. Ratios are their time over ours: above 1 we are faster.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "test/fixtures/configs/llama-3.1-8b/config.json"
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
MATRICES = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)]
TOKENS = [1, 8, 32, 128, 1024, 8192]
DECODES = [(batch, context) for batch in (1, 8, 32, 64) for context in (1024, 4096, 16384, 32768)]
PREFILLS = [(8, 1024), (1, 4096), (1, 16384)]
STEP_CONTEXT = 1024
LEAVES_CACHE = 256 << 20  # bytes of inputs in turn, so that none is found in a cache


def skip(why):
    print(json.dumps({"skipped": why}))
    sys.exit(0)


# --- comparison ------------------------------------------------------------------------------------------------------


def our_times(report):
    """Microseconds by the names that measure() gives."""
    parts = report.get("parts", {})
    times = {}
    for case in parts.get("kernels", {}).get("cases", []):
        dtype, _, name = case["op"].partition(" ")
        if dtype == "bfloat16":
            times[name] = case["median_us"]
    for row in parts.get("steps", {}).get("rows", []):
        quantized = row.get("quantization") is not None  # transformers runs in bfloat16
        if not quantized and row.get("median_decode_latency") and row.get("input_len") == STEP_CONTEXT:
            times[f"decode step b{row['batch_size']} s{row['input_len']}"] = row["median_decode_latency"] * 1e6
    return times


def compare(ours, theirs):
    """A row for each op that both measured; ratio: their time over ours."""
    return [
        {"op": name, "ours_us": ours[name], "theirs_us": each["us"], "by": each["by"], "ratio": each["us"] / ours[name]}
        for name, each in theirs.items()
        if name in ours and ours[name] > 0
    ]


# --- measurement -----------------------------------------------------------------------------------------------------


def microseconds(torch, calls, seconds):
    """Of one call: the median over replays of a graph of all `calls`."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    torch.cuda.synchronize()
    times = []
    until = time.monotonic() + seconds
    while len(times) < 5 or time.monotonic() < until:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / len(calls))
    return statistics.median(times)


def repeats(sets, bytes_of_one):
    """As many calls as take about a millisecond at 3 TB/s, over the sets in turn."""
    count = max(len(sets), min(256, int(3e9 / max(bytes_of_one, 1))))
    return [sets[i % len(sets)] for i in range(count)]


def copies_for(bytes_of_one):
    return max(1, min(16, LEAVES_CACHE // bytes_of_one))


def measure_products(torch, seconds):
    found = {}
    for n, k in MATRICES:
        weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for _ in range(copies_for(2 * n * k))]
        for m in TOKENS:
            if n > 100_000 and m > 128:
                continue
            x = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
            out = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
            bytes_of_one = 2 * (n * k + m * k + m * n) if m < 256 else 3_000_000_000
            calls = [lambda w=w: torch.mm(x, w.t(), out=out) for w in repeats(weights, bytes_of_one)]
            found[f"linear bfloat16 m{m} n{n} k{k}"] = {"us": microseconds(torch, calls, seconds), "by": "torch.mm"}
        del weights
        torch.cuda.empty_cache()
    return found


def measure_attention(torch, seconds):
    attend = torch.nn.functional.scaled_dot_product_attention

    def tensor(batch, heads, length):
        return torch.randn(batch, heads, length, HEAD_DIM, device="cuda", dtype=torch.bfloat16)

    found = {}
    for batch, context, queries in [(b, s, 1) for b, s in DECODES] + [(b, s, s) for b, s in PREFILLS]:
        bytes_of_one = 2 * 2 * batch * KV_HEADS * context * HEAD_DIM
        q = tensor(batch, HEADS, queries)
        sets = [
            (tensor(batch, KV_HEADS, context), tensor(batch, KV_HEADS, context)) for _ in range(copies_for(bytes_of_one))
        ]
        work = bytes_of_one if queries == 1 else 3_000_000_000
        calls = [
            lambda k=k, v=v: attend(q, k, v, is_causal=queries > 1, enable_gqa=True) for k, v in repeats(sets, work)
        ]
        name = f"attention bfloat16 h{HEADS}/{KV_HEADS} d{HEAD_DIM} b16 r{batch} q{queries} s{context}"
        found[name] = {"us": microseconds(torch, calls, seconds), "by": "scaled_dot_product_attention, not paged"}
        del q, sets, calls
        torch.cuda.empty_cache()
    return found


def measure_steps(torch, seconds):
    import transformers

    config = transformers.LlamaConfig(**json.loads(CONFIG.read_text()))
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    found = {}
    for batch in (1, 32):
        cache = transformers.StaticCache(config=config, max_cache_len=STEP_CONTEXT + 64)
        ids = torch.full((batch, 1), 17, device="cuda")
        position = torch.tensor([STEP_CONTEXT], device="cuda")

        def step():
            places = {"cache_position": position, "position_ids": position.expand(batch, 1)}
            return model(input_ids=ids, past_key_values=cache, use_cache=True, **places).logits

        us, by = step_microseconds(torch, step, seconds)
        found[f"decode step b{batch} s{STEP_CONTEXT}"] = {"us": us, "by": f"transformers {transformers.__version__}, {by}"}
        del cache
        torch.cuda.empty_cache()
    return found


def step_microseconds(torch, step, seconds):
    """In a graph of our own where that can be captured, else as it is."""
    with torch.no_grad():
        try:
            return microseconds(torch, [step], seconds), "static cache, CUDA graph"
        except RuntimeError as error:
            print(f"the step of transformers cannot be captured: {error}", file=sys.stderr)
        torch.cuda.synchronize()
        compiled = torch.compile(step, mode="reduce-overhead")
        try:
            for _ in range(3):
                compiled()
            run, by = compiled, "static cache, torch.compile"
        except Exception as error:  # whatever a compiler may throw
            print(f"the step of transformers cannot be compiled: {error}", file=sys.stderr)
            run, by = step, "static cache, eager"
        times = []
        until = time.monotonic() + max(seconds, 1)
        while len(times) < 5 or time.monotonic() < until:
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - start) * 1e6)
        return statistics.median(times), by


def measure(seconds):
    try:
        import torch
    except ImportError:
        skip("PyTorch is not installed")
    if not torch.cuda.is_available():
        skip(f"PyTorch {torch.__version__} finds no GPU")
    found, problems = {}, []
    for part in (measure_products, measure_attention, measure_steps):
        try:
            found.update(part(torch, seconds))
        except Exception as error:  # the others may still be measured
            problems.append(f"{part.__name__}: {type(error).__name__}: {error}")
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name()}
    return {"versions": versions, "theirs": found, "problems": problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", default="gpu-check.json", help="of gpu-check, with our figures")
    parser.add_argument("--out", help="file for the JSON object")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each case")
    parser.add_argument("--measured", help="JSON object of an earlier run, instead of measuring")
    options = parser.parse_args()
    measured = json.loads(Path(options.measured).read_text()) if options.measured else measure(options.seconds)
    report = Path(options.report)
    ours = our_times(json.loads(report.read_text())) if report.exists() else {}
    rows = compare(ours, measured["theirs"])
    for row in rows:
        print(f"{row['op']:<52} {row['ours_us']:>10.1f} {row['theirs_us']:>10.1f} {row['ratio']:>6.2f}  {row['by']}")
    if not rows:
        print(f"nothing to compare: {report} has no figures of kernels or steps")
    document = {**measured, "rows": rows}
    if options.out:
        Path(options.out).write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
