"""Worker: Hugging Face transformers on PyTorch; the same protocol as worker.mjs. PEERS_PYTHON names a Python that has both."""
import json
import sys
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM

MODEL = None
VOCAB = 0


def load(settings):
    global MODEL, VOCAB
    VOCAB = settings["shape"]["vocab"]
    torch.set_num_threads(settings["threads"])
    dtype = getattr(torch, settings["shape"]["dtype"])
    config = AutoConfig.from_pretrained(settings["directory"])
    MODEL = AutoModelForCausalLM.from_pretrained(settings["directory"], config=config, torch_dtype=dtype).eval()


@torch.inference_mode()
def run(batch, input, output):
    ids = torch.tensor(
        [[300 + (s * 7919 + i * 104729) % (VOCAB - 300) for i in range(input)] for s in range(batch)]
    )
    mark = time.perf_counter()
    answer = MODEL(ids, use_cache=True, logits_to_keep=1)
    next_ids = answer.logits[:, -1:].argmax(-1)
    prefill_ms = (time.perf_counter() - mark) * 1000
    tokens = [int(next_ids[0, 0])]
    mark = time.perf_counter()
    for _ in range(output - 1):
        answer = MODEL(next_ids, past_key_values=answer.past_key_values, use_cache=True)
        next_ids = answer.logits[:, -1:].argmax(-1)
        tokens.append(int(next_ids[0, 0]))
    return {"prefillMs": prefill_ms, "decodeMs": (time.perf_counter() - mark) * 1000, "tokens": tokens}


def peak_bytes():
    with open("/proc/self/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


for line in sys.stdin:
    message = json.loads(line)
    try:
        mark = time.perf_counter()
        if message.pop("type") == "load":
            load(message)
            result = {"loadMs": (time.perf_counter() - mark) * 1000}
        else:
            result = run(**message)
            result = {**result, "runMs": (time.perf_counter() - mark) * 1000, "peakBytes": peak_bytes()}
    except Exception as error:  # the table says what went wrong
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
