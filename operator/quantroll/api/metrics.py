"""Names of the metrics that the prober exports and the operator asks Prometheus for."""

EVAL_ITEMS = "quantroll_eval_items_total"
PROBE_PAIRS = "quantroll_probe_pairs_total"
PROBE_REQUESTS = "quantroll_probe_requests_total"
SOURCE_ITEMS = "quantroll_probe_source_items"
LAST_ANSWER = "quantroll_probe_last_answer_timestamp_seconds"
INTERVAL = "quantroll_probe_interval_seconds"
