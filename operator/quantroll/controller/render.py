"""Manifests of everything that a plan wants."""

from datetime import timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.builders import claim, deployment, jobs, names, prober, route, service
from quantroll.builders.meta import Manifest, Owner
from quantroll.domain.wanted import Wanted, WantedBenchmark, WantedConfirm, WantedEvaluate, WantedJob, WantedPrepare
from quantroll.settings import Settings


def render(owner: Owner, spec: QuantizedModelSpec, wanted: Wanted, settings: Settings) -> list[Manifest]:
    """All manifests, in the order in which they have to be applied."""
    store = names.artifacts_claim(owner.name, spec.storage)
    load = parse_duration(spec.rollout.deadlines.model_load)
    manifests = [] if spec.storage.claim_name else [claim.artifacts_claim(owner, spec.storage)]
    manifests += [_job(owner, spec, job, store, settings) for job in wanted.jobs]
    manifests += _servers(owner, wanted, store, load)
    if wanted.stable:
        manifests.append(
            service.stable_service(owner, stable=wanted.stable, selected=wanted.selected, rejected=wanted.rejected)
        )
    if wanted.shares:
        manifests.append(route.route(owner, spec.rollout.routing, wanted.shares))
    if wanted.prober:
        manifests.append(prober.prober(owner, wanted.prober.probe_input, images=settings.images))
    return manifests


def _job(owner: Owner, spec: QuantizedModelSpec, job: WantedJob, store: str, settings: Settings) -> Manifest:
    if isinstance(job, WantedPrepare):
        return jobs.prepare_job(
            owner,
            job.job_input,
            store=store,
            images=settings.images,
            hugging_face=settings.hugging_face,
            token=spec.model.token_secret_ref,
        )
    if isinstance(job, WantedConfirm):
        return jobs.confirm_job(owner, job.job_input, store=store, images=settings.images)
    if isinstance(job, WantedBenchmark):
        return jobs.benchmark_job(
            owner,
            job.job_input,
            job.served,
            variant=job.variant,
            revision=job.revision,
            store=store,
            images=settings.images,
        )
    if isinstance(job, WantedEvaluate):
        return jobs.evaluate_job(
            owner,
            job.job_input,
            job.served,
            variant=job.variant,
            revision=job.revision,
            store=store,
            images=settings.images,
        )
    return jobs.quantize_job(
        owner, job.job_input, variant=job.variant, store=store, images=settings.images, placement=spec.jobs
    )


def _servers(owner: Owner, wanted: Wanted, store: str, load: timedelta) -> list[Manifest]:
    manifests = []
    for server in wanted.servers:
        manifests.append(
            deployment.deployment(
                owner,
                server.served,
                variant=server.variant,
                revision=server.revision,
                replicas=server.replicas,
                store=store,
                model_load=load,
            )
        )
        manifests.append(service.revision_service(owner, variant=server.variant, revision=server.revision))
    return manifests
