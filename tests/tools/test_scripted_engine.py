"""The engine of the tests of the node, asked by the clients that ask vLLM: it keeps to its script, and counts alike."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bootstrap import cache
from demo.traffic import ask
from quantroll.adapters.engines import parse_in_flight
from quantroll_jobs.evaluate.engine import Engine

PROGRAM = cache.CHECKOUT / "tests" / "e2e" / "engine" / "engine.py"
QUANTIZED = {"quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": 8}}}}}
SUM = "Q:37+05\nA:"


@pytest.fixture
def start(tmp_path):
    """Start one that serves a model of this kind, with this script of its profile."""

    @contextmanager
    def started(script=None, config=QUANTIZED, *, waits=True):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {
            "PATH": os.environ["PATH"],
            "ENGINE_SCRIPT": json.dumps(script or {}),
            "ENGINE_KEPT": str(tmp_path / "kept.json"),
        }
        command = [sys.executable, PROGRAM, "serve", tmp_path, "--served-model-name=m", f"--port={port}"]
        with subprocess.Popen([*command, "--shutdown-timeout=5", "--enforce-eager"], env=variables) as process:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
                    if waits:
                        _wait_for(client, process)
                    yield client, process
            finally:
                process.kill()

    return started


def _wait_for(client, process):
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return client.get("/health")
        except httpx.ConnectError:
            time.sleep(0.02)
    return pytest.fail(f"no answer; it ended with {process.poll()}")


def answers(client, *prompts):
    found = [client.post("/v1/completions", json={"model": "m", "prompt": prompt}) for prompt in prompts]
    return [reply.json()["choices"][0]["text"] for reply in found]


def test_it_is_asked_as_the_jobs_ask_vllm(start):
    async def ask_it(url):
        engine = Engine(url, "m", connections=2, request_timeout=10, prompt_ids=True)
        try:
            await engine.wait_until_ready(10)
            chat = {"messages": [{"role": "user", "content": "Q:rev abcd\nA:"}], "max_tokens": 8, "temperature": 0}
            plain = {"prompt": SUM, "max_tokens": 8, "temperature": 0}
            return await engine.version(), await engine.ask(plain), await engine.ask(chat)
        finally:
            await engine.aclose()

    with start() as (client, _):
        version, plain, chat = asyncio.run(ask_it(str(client.base_url)))
        assert (version, plain.text, plain.finish_reason, chat.text) == ("scripted-1", "042", "stop", "dcba")
        assert "" not in {plain.prompt, chat.prompt}, "it tells the token ids of its prompts"
        assert [ask(client, "m", SUM, stream=stream) for stream in (False, True)] == [None, None]


def test_it_counts_with_vllms_names(start):
    with start({"8": {"seconds": 0.02}}) as (client, _):
        for stream in (False, True):
            assert ask(client, "m", SUM, stream=stream) is None
        client.post("/v1/completions", json={"model": "m", "prompt": SUM, "max_tokens": 1})
        page = client.get("/metrics").text
    assert parse_in_flight(page) == 0
    values = {
        (sample.name, sample.labels.get("finished_reason") or sample.labels.get("status") or sample.labels.get("le")):
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }  # fmt: skip
    assert values["vllm:request_success_total", "stop"] == 2
    assert values["vllm:request_success_total", "length"] == 1
    assert values["http_requests_total", "2xx"] == 3
    assert values["vllm:time_to_first_token_seconds_bucket", "0.01"] == 0
    assert values["vllm:time_to_first_token_seconds_bucket", "+Inf"] == 3
    assert values["vllm:inter_token_latency_seconds_count", None] == 4
    assert values["vllm:generation_tokens_total", None] == 7


def test_the_same_questions_go_wrong_in_every_engine_of_a_script(start):
    sums = [f"Q:{left:02d}+{right:02d}\nA:" for left in range(20) for right in range(10)]
    right = [f"{left + right:03d}" for left in range(20) for right in range(10)]
    with start({"8": {"wrong": {"add": 0.3}}}) as (client, _):
        told = answers(client, *sums, "Q:rev abcd\nA:")
        assert told[-1] == "dcba", "only questions of the kind"
    with start({"8": {"wrong": {"add": 0.3}}}) as (client, _):
        assert answers(client, *sums) == told[:-1]
    share = sum(one != other for one, other in zip(told, right, strict=False)) / len(right)
    assert 0.2 < share < 0.4
    with start({"8": {"wrong": {"add": 0.3}}}, config={}) as (client, _):
        assert answers(client, *sums) == right, "the baseline has a script of its own"


def test_errors_are_as_many_as_the_script_says(start):
    with start({"8": {"failing": 0.25}}) as (client, _):
        statuses = [client.post("/v1/completions", json={"model": "m", "prompt": SUM}).status_code for _ in range(40)]
    assert (statuses.count(500), statuses.count(200)) == (10, 30)


def test_it_can_be_told_while_it_runs_and_a_next_container_goes_on_with_that(start):
    with start() as (client, process):
        assert client.post("/script", json={"no such": 1}).status_code == 400
        assert client.post("/script", json={"ready": False}).status_code == 200
        assert client.get("/health").status_code == 503
        assert ask(client, "m", SUM).startswith("HTTP 503")
        client.post("/script", json={"ready": True, "exit": 3})
        assert process.wait(10) == 3
    with start(waits=False) as (_, process):
        assert process.wait(10) == 3


def test_it_is_told_in_chunks_as_through_the_api_servers_proxy(start):
    with start() as (client, _):
        said = client.post("/script", content=iter([b'{"wrong": ', b'{"add": 1.0}}']))
        assert "Content-Length" not in said.request.headers
        assert said.json() == {"wrong": {"add": 1.0}}
        assert ask(client, "m", SUM) is None, "and the connection goes on"


def test_a_request_that_is_under_way_ends_before_the_engine_does(start):
    with start({"8": {"seconds": 0.5}}) as (client, process):
        with client.stream("POST", "/v1/completions", json={"model": "m", "prompt": SUM, "stream": True}) as reply:
            process.terminate()
            assert "".join(reply.iter_text()).rstrip().endswith("data: [DONE]")
        assert process.wait(10) == 0


def test_one_that_hangs_takes_the_question_and_says_nothing(start):
    with start({"8": {"hang": True}}) as (client, _):
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json={"model": "m", "prompt": SUM}, timeout=0.3)
        assert parse_in_flight(client.get("/metrics").text) == 1
