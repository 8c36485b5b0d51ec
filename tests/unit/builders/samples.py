"""Typed inputs of the builders, and every manifest that they give, by name: what the golden files hold."""

from datetime import timedelta

from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import (
    Arm,
    BenchmarkInput,
    CalibrationInput,
    ConfirmInput,
    DataFile,
    EvaluateInput,
    HubModel,
    PrepareInput,
    ProbeInput,
    QuantizeInput,
    Recipe,
)
from quantroll.api.spec import (
    Algorithm,
    Backend,
    Dtype,
    LMEval,
    LMEvalTask,
    ParentRef,
    Placement,
    Resources,
    Routing,
    Scheme,
    ScorerName,
    Scoring,
    Serving,
    Storage,
    TokenSecretRef,
    Toleration,
)
from quantroll.api.status import RevisionSpec, Share
from quantroll.builders import claim, deployment, jobs, prober, route, service
from quantroll.builders.meta import Owner
from quantroll.domain import locate
from quantroll.settings import HuggingFace, Images

OWNER = Owner(name="ticket-triage", namespace="team-a", uid="7f1c2f0e-3a52-4c0b-9a57-0d4f5b1f2a11")
IMAGES = Images(
    client="registry.example.com/client:1",
    quantize="registry.example.com/quantize:1",
    quantize_auto_awq="registry.example.com/quantize-autoawq:1",
    lm_eval="registry.example.com/client-lm-eval:1",
)
STORE = "ticket-triage-artifacts"
KEY = "0123456789abcdef" * 4
STABLE, CANDIDATE = "aaaaaaaaaa", "bbbbbbbbbb"

CPU = RevisionSpec(
    engine="vllm-cpu",
    profile=EngineProfile(
        image="registry.example.com/vllm-cpu:1",
        device="cpu",
        args=["--enforce-eager"],
        env={"VLLM_CPU_KVCACHE_SPACE": "1", "HOME": "/tmp/home"},
        read_only_root=True,
        shared_memory="256Mi",
        shutdown_timeout_seconds=20,
        pre_stop_seconds=5,
    ),
    serving=Serving(
        engine="vllm-cpu",
        replicas=1,
        resources=Resources(requests={"cpu": "500m", "memory": "2Gi"}),
        max_num_seqs=8,
        max_model_len=256,
        gpu_memory_utilization=0.25,
    ),
    dtype=Dtype.FLOAT32,
    model="pvc://models/tiny/llama",
)
GPU = RevisionSpec(
    engine="vllm",
    profile=EngineProfile(image="vllm/vllm-openai:v0.31.0@sha256:" + "c" * 64),
    serving=Serving(
        replicas=2,
        resources=Resources(limits={"nvidia.com/gpu": 2, "memory": "64Gi"}),
        node_selector={"nvidia.com/gpu.product": "NVIDIA-L4"},
        tolerations=[Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        tensor_parallel_size=2,
    ),
    dtype=Dtype.BFLOAT16,
    model="models/" + KEY,
)

PREPARE = PrepareInput(
    key=KEY,
    store="/artifacts",
    model_path="/claims/models/tiny/llama",
    dtype=Dtype.FLOAT32,
    eval_set=DataFile(path="/claims/data/holdout.jsonl"),
    calibration=DataFile(path="/claims/data/calib.jsonl", sha256="d" * 64),
)
SOURCE = f"sources/{KEY}"
FETCH = PREPARE.model_copy(
    update={"model_path": f"/artifacts/{SOURCE}", "hub": HubModel(repository="team/llama", revision="a" * 40)}
)
QUANTIZE = QuantizeInput(
    key=KEY,
    store="/artifacts",
    model_path="/claims/models/tiny/llama",
    model_digest="e" * 64,
    recipe=Recipe(scheme=Scheme.W4A16, algorithm=Algorithm.GPTQ, group_size=128, ignore=["lm_head", "re:.*$(HOME)$"]),
    calibration=CalibrationInput(
        path="/claims/data/calib.jsonl", sha256="d" * 64, samples=512, max_sequence_length=256, seed=0
    ),
)
AUTO_AWQ = QUANTIZE.model_copy(
    update={
        "model_path": f"/artifacts/{SOURCE}",
        "recipe": Recipe(backend=Backend.AUTO_AWQ, scheme=Scheme.W4A16, algorithm=Algorithm.AWQ, group_size=128),
    }
)
EVALUATE = EvaluateInput(
    key=KEY,
    store="/artifacts",
    eval_set=DataFile(path="/claims/data/holdout.jsonl", sha256="f" * 64),
    scorer="ExactMatch",
    temperature=0,
    max_tokens=16,
    endpoint="http://127.0.0.1:8000",
    served_model=OWNER.name,
    concurrency=8,
    ready_timeout_seconds=1800,
    baseline_key=KEY,
)
TASKS = Scoring(lm_eval=LMEval(tasks=[LMEvalTask(name="sums")]))
LM_EVAL = {"scorer": ScorerName.LM_EVAL, "scoring": TASKS, "eval_set": DataFile(path="/claims/data/tasks")}
PREPARE_TASKS = PREPARE.model_copy(update=LM_EVAL)
EVALUATE_TASKS = EVALUATE.model_copy(update={**LM_EVAL, "tokenizer": "/claims/models/llama", "max_length": 4096})
BENCHMARK = BenchmarkInput(
    key=KEY,
    store="/artifacts",
    results="/benchmark",
    model_path="/claims/models/tiny/llama",
    endpoint="http://127.0.0.1:8000",
    served_model=OWNER.name,
    concurrency=[1, 8, 64],
    prompt_tokens=512,
    output_tokens=128,
    ready_timeout_seconds=1800,
)
ARMS = [
    Arm(revision=revision, endpoint=f"http://ticket-triage-{revision}.team-a.svc") for revision in (STABLE, CANDIDATE)
]
CONFIRM = ConfirmInput(
    key=KEY,
    store="/artifacts",
    eval_set=DataFile(path="/claims/data/holdout.jsonl", sha256="f" * 64),
    items=1000,
    scorer="ExactMatch",
    temperature=0,
    max_tokens=16,
    served_model=OWNER.name,
    serving=ARMS[1],
    target=ARMS[0],
    concurrency=8,
    ready_timeout_seconds=600,
)
PROBE = ProbeInput(
    namespace=OWNER.namespace,
    name=OWNER.name,
    source=DataFile(path="/claims/data/$(HOME)/fresh.jsonl"),
    items_per_hour=60,
    scorer="ExactMatch",
    temperature=0,
    max_tokens=16,
    targets=ARMS,
)
GPU_JOBS = Placement(resources=Resources(limits={"nvidia.com/gpu": 1}), node_selector={"pool": "gpu"})
ROUTING = Routing(
    hostnames=["triage.example.com"],
    parent_refs=[ParentRef(name="public", namespace="gateways", section_name="http")],
)


def server(served, variant, revision):
    return deployment.deployment(
        OWNER,
        served,
        variant=variant,
        revision=revision,
        replicas=served.serving.replicas,
        store=STORE,
        model_load=timedelta(minutes=30),
    )


def evaluation(served, variant, revision, job_input=EVALUATE):
    return jobs.evaluate_job(OWNER, job_input, served, variant=variant, revision=revision, store=STORE, images=IMAGES)


def benchmark_of(served, variant, revision):
    path = locate.model_path(served.model)
    job_input = BENCHMARK.model_copy(update={"model_path": path})
    return jobs.benchmark_job(OWNER, job_input, served, variant=variant, revision=revision, store=STORE, images=IMAGES)


def preparation(job_input, store=STORE, endpoint="", token=None):
    hugging_face = HuggingFace(endpoint=endpoint)
    return jobs.prepare_job(OWNER, job_input, store=store, images=IMAGES, hugging_face=hugging_face, token=token)


def quantization(placement, job_input=QUANTIZE):
    return jobs.quantize_job(OWNER, job_input, variant="int4", store=STORE, images=IMAGES, placement=placement)


def all_manifests():
    return {
        "prepare-job": preparation(PREPARE),
        "prepare-job-hub": preparation(FETCH),
        "prepare-job-mirror": preparation(
            FETCH, endpoint="https://hub.example.com", token=TokenSecretRef(name="hub", key="read")
        ),
        "prepare-job-lm-eval": preparation(PREPARE_TASKS),
        "evaluate-job-lm-eval": evaluation(CPU, "baseline", STABLE, EVALUATE_TASKS),
        "quantize-job-autoawq": quantization(Placement(), AUTO_AWQ),
        "quantize-job-cpu": quantization(Placement()),
        "quantize-job-gpu": quantization(GPU_JOBS),
        "evaluate-job-cpu": evaluation(CPU, "baseline", STABLE),
        "evaluate-job-gpu": evaluation(GPU, "int4", CANDIDATE),
        "benchmark-job-cpu": benchmark_of(CPU, "baseline", STABLE),
        "benchmark-job-gpu": benchmark_of(GPU, "int4", CANDIDATE),
        "confirm-job": jobs.confirm_job(OWNER, CONFIRM, store=STORE, images=IMAGES),
        "prober": prober.prober(OWNER, PROBE, images=IMAGES),
        "deployment-cpu": server(CPU, "baseline", STABLE),
        "deployment-hub": server(CPU.model_copy(update={"model": SOURCE}), "baseline", STABLE),
        "deployment-gpu": server(GPU, "int4", CANDIDATE),
        "service-revision": service.revision_service(OWNER, variant="int4", revision=CANDIDATE),
        "service-stable": service.stable_service(OWNER, stable=STABLE, selected=STABLE),
        "service-split": service.stable_service(OWNER, stable=STABLE, selected=""),
        "route-one": route.route(OWNER, ROUTING, [Share(revision=STABLE, weight=100)]),
        "route-split": route.route(
            OWNER, ROUTING, [Share(revision=STABLE, weight=90), Share(revision=CANDIDATE, weight=10)]
        ),
        "claim-retain": claim.artifacts_claim(OWNER, Storage()),
        "claim-delete": claim.artifacts_claim(
            OWNER, Storage(storage_class_name="nfs", size="20Gi", reclaim_policy="Delete")
        ),
    }


def pod_template(manifest):
    return manifest["spec"].get("template", {}).get("spec")


POD_MANIFESTS = [name for name, manifest in all_manifests().items() if pod_template(manifest)]
