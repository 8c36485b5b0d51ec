# Targets: operator, client (prepare, evaluate), client-lm-eval (the same with lm-eval, for the opt-in scorer LMEval),
# quantize (llm-compressor), quantize-autoawq (the opt-in backend AutoAWQ), vllm-cpu (serving without a GPU).
#
# What is large lies below what changes: base, torch (shared by quantize, quantize-autoawq and vllm-cpu), the target's
# packages, our code.
# Each target's packages are exported from uv.lock first, so that a layer is made again when its own packages change and
# not with every line of pyproject.toml. Every image runs as a user without rights and on a read-only root; only /tmp
# has to be writable.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS lock
WORKDIR /lock
COPY tools/images/uv /opt/lock/
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    set -eu; \
    export="$(/opt/lock/uv) export --frozen --quiet --no-emit-project --no-header --no-annotate"; \
    $export --only-group torch-base > torch.txt; \
    for extra in operator client lm-eval quantize quantize-autoawq serve; do $export --extra $extra > $extra.txt; done

FROM ${BASE} AS python
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app/operator:/app/jobs \
    HOME=/tmp
RUN python3 -m venv --without-pip /opt/venv
COPY tools/images/uv tools/images/install /opt/lock/
WORKDIR /app

FROM python AS operator
COPY --from=lock /lock/operator.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install operator
COPY operator/quantroll /app/operator/quantroll
USER 65532:65532
ENTRYPOINT ["kopf"]

FROM python AS client
COPY --from=lock /lock/client.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install client
COPY operator/quantroll /app/operator/quantroll
COPY jobs/quantroll_jobs /app/jobs/quantroll_jobs
USER 65532:65532
ENTRYPOINT ["python", "-m", "quantroll_jobs"]

FROM python AS client-lm-eval
COPY --from=lock /lock/lm-eval.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install lm-eval
COPY operator/quantroll /app/operator/quantroll
COPY jobs/quantroll_jobs /app/jobs/quantroll_jobs
USER 65532:65532
ENTRYPOINT ["python", "-m", "quantroll_jobs"]

FROM python AS torch
COPY --from=lock /lock/torch.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install torch

FROM torch AS quantize
COPY --from=lock /lock/quantize.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install quantize
COPY operator/quantroll /app/operator/quantroll
COPY jobs/quantroll_jobs /app/jobs/quantroll_jobs
USER 65532:65532
ENTRYPOINT ["python", "-m", "quantroll_jobs"]

FROM torch AS quantize-autoawq
COPY --from=lock /lock/quantize-autoawq.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install quantize-autoawq
COPY operator/quantroll /app/operator/quantroll
COPY jobs/quantroll_jobs /app/jobs/quantroll_jobs
USER 65532:65532
ENTRYPOINT ["python", "-m", "quantroll_jobs"]

FROM torch AS vllm-cpu
# vLLM's CPU worker is linked to libnuma.
RUN apt-get update && apt-get install --yes --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
COPY --from=lock /lock/serve.txt /opt/lock/
RUN --mount=type=cache,id=quantroll-uv-tool,target=/opt/uv \
    --mount=type=cache,id=quantroll-uv,target=/var/cache/uv \
    /opt/lock/install serve
# vLLM imports itself once more, in a process of its own, to learn what a model's class can do, unless its cache tells.
RUN VLLM_CACHE_ROOT=/opt/vllm VLLM_TARGET_DEVICE=cpu python -c "from vllm.model_executor.models import ModelRegistry; \
    ModelRegistry.models['LlamaForCausalLM'].inspect_model_cls()" && test -s /opt/vllm/modelinfos/*LlamaForCausalLM.json \
    && chmod -R a+rX /opt/vllm
COPY tools/images/plugins /opt/plugins
ENV PYTHONPATH=/opt/plugins
COPY tools/images/vllm /opt/venv/bin/vllm
USER 65532:65532
ENTRYPOINT ["vllm", "serve"]
