"""Names of the metrics that the prober exports and the operator asks Prometheus for.

A series of a revision has the labels `namespace`, `name` (of the QuantizedModel) and `revision`. The prober sets them
itself; on an engine's own metrics they come from the labels of its pod, by the relabelling of whoever scrapes it.
"""

EVAL_ITEMS = "quantroll_eval_items_total"
"""Items asked, by namespace, name, revision, slice, source and outcome: pass, fail, or error (no answer to judge)."""

PROBE_PAIRS = "quantroll_probe_pairs_total"
"""Items that two revisions answered, by namespace, name, revision, reference, slice and cell of the paired table."""

PROBE_REQUESTS = "quantroll_probe_requests_total"
"""The prober's own requests, by namespace, name, revision and status: 2xx, 3xx, 4xx, 5xx, or none for no response."""

SOURCE_ITEMS = "quantroll_probe_source_items"
"""Distinct items that the prober goes through, by namespace and name."""

LAST_ANSWER = "quantroll_probe_last_answer_timestamp_seconds"
"""Unix time of the latest answer, by namespace, name and revision."""

INTERVAL = "quantroll_probe_interval_seconds"
"""Seconds between two questions to a revision, by namespace and name."""

ENGINE_REQUESTS = "http_requests_total"
"""vLLM's own count of requests, by handler, method and status class. A status that never occurred has no series."""

TTFT = "vllm:time_to_first_token_seconds"
ITL = "vllm:inter_token_latency_seconds"
"""vLLM's own histograms, the time to the first token of a request and that between two tokens, both in seconds."""
