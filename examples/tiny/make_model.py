"""Train a tiny, real Llama on one CPU core in about 100 seconds, with an eval set and a calibration set.

    OMP_NUM_THREADS=1 python examples/tiny/make_model.py --out DIR

writes DIR/model, DIR/eval.jsonl and DIR/calibration.jsonl. Everything is seeded: the same versions of torch and
transformers give the same bytes. Needs the `quantize` extra; no network, no data set.
"""

import argparse
import hashlib
import json
import math
import random
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from outliers import add_outliers
from questions import END, Curriculum, Question
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD = "<|pad|>"
VOCABULARY = 320
WINDOW = 26  # tokens: the longest question with its answer is shorter
IGNORED = -100  # cross_entropy's ignore_index
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q:{{ m['content'] }}\n"
    "{% elif m['role'] == 'assistant' %}A:{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)


def alphabet_of(byte: int) -> str:
    """The printable character that stands for a byte in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    return chr(256 + sorted(set(range(256)) - set(printable)).index(byte))


def build_tokenizer() -> Any:
    """One token a byte: nothing to train, nothing to download."""
    vocabulary = {PAD: 0, END: 1}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    # llama.cpp refuses a BPE vocabulary without merges: one, of two bytes that never occur
    never = (alphabet_of(0), alphabet_of(1))
    vocabulary["".join(never)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[never]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model() -> Any:
    """A Llama of 525,184 parameters."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        rms_norm_eps=1e-5,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config).float().train()


def batch_of(questions: list[Question], ids: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and targets; only answers are targets."""
    tokens = torch.zeros(len(questions), WINDOW, dtype=torch.long)
    targets = torch.full((len(questions), WINDOW), IGNORED)
    for row, question in enumerate(questions):
        prompt = [ids[c] for c in question.prompt]
        answer = [ids[c] for c in question.answer] + [1]
        tokens[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        targets[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    width = int((targets >= 0).any(0).nonzero().max()) + 1
    return tokens[:, :width], targets[:, :width]


def optimizers_of(model: Any, rate: float, steps: int) -> tuple[list[Any], list[Any]]:
    """Muon for the hidden matrices learns these questions about ten times as fast as AdamW alone."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if hidden else others).append(parameter)
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]

    def factor(step: int) -> float:
        return min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))

    return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in optimizers]


def train(model: Any, curriculum: Curriculum, ids: dict[str, int], options: argparse.Namespace) -> None:
    """Minimise the cross entropy of the answers."""
    optimizers, schedulers = optimizers_of(model, options.rate, options.steps)
    rng = random.Random(options.seed + 1)
    started = time.monotonic()
    for step in range(options.steps):
        questions = [curriculum.training_question(rng, options.hard) for _ in range(options.batch)]
        tokens, targets = batch_of(questions, ids)
        hidden = model.model(input_ids=tokens).last_hidden_state
        answered = targets[:, 1:] >= 0
        logits = model.lm_head(hidden[:, :-1][answered]).float()
        loss = torch.nn.functional.cross_entropy(logits, targets[:, 1:][answered])
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in (*optimizers, *schedulers):
            stepper.step()
        if step % 100 == 0 or step == options.steps - 1:
            seconds = time.monotonic() - started
            print(
                f"training the tiny model: step {step} of {options.steps}, loss {loss.item():.4f}, {seconds:.0f} s",
                flush=True,
            )


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """A bfloat16 checkpoint as transformers writes it."""
    model.eval()
    model.to(torch.bfloat16)
    model.config.use_cache = True
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0, do_sample=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers 5 writes a tokenizer_class that transformers 4 cannot read
    settings = folder / "tokenizer_config.json"
    values = json.loads(settings.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(values, indent=2) + "\n")


def save_questions(curriculum: Curriculum, seed: int, folder: Path) -> None:
    """The held-out eval set, and a calibration set that shares no prompt with it."""
    held_out = curriculum.eval_set()
    numbers: dict[str, int] = {}
    with (folder / "eval.jsonl").open("w") as file:
        for question in held_out:
            number = numbers[question.kind] = numbers.get(question.kind, 0) + 1
            item = {
                "id": f"{question.kind}-{number:04d}",
                "slice": question.kind,
                "prompt": question.prompt,
                "expected": question.answer,
            }
            file.write(json.dumps(item) + "\n")
    texts = curriculum.calibration(seed + 99, {question.prompt for question in held_out})
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "calibration.jsonl").write_text(lines)


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Train, save, add the outliers; print the digests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=5e-3, help="learning rate")
    parser.add_argument("--hard", type=float, default=0.15, help="share of 3-digit additions in training")
    parser.add_argument("--outlier-channels", type=int, default=16, help="0: none")
    parser.add_argument("--outlier-scale", type=float, default=22)
    options = parser.parse_args()
    torch.set_num_threads(1)  # two threads are slower on shared cores, and the order of additions is the result
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(mode=True)

    tokenizer, curriculum = build_tokenizer(), Curriculum(options.seed)
    ids = {chr(byte): tokenizer.convert_tokens_to_ids(alphabet_of(byte)) for byte in range(128)}
    model = build_model()
    train(model, curriculum, ids, options)
    folder: Path = options.out / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_model(model, tokenizer, folder)
    weights = folder / "model.safetensors"
    print(f"trained weights sha256 {sha256_of(weights)}")
    if options.outlier_channels:
        tensors = load_file(weights)
        add_outliers(tensors, options.outlier_channels, options.outlier_scale)
        save_file(tensors, weights, metadata={"format": "pt"})
    save_questions(curriculum, options.seed, options.out)
    for path in (weights, options.out / "eval.jsonl", options.out / "calibration.jsonl"):
        print(f"{path.relative_to(options.out)} sha256 {sha256_of(path)}")


if __name__ == "__main__":
    main()
