"""The prober: asks the revisions that serve questions with known answers, all the time, and counts for Prometheus.

It is no Job: it runs beside a QuantizedModel for as long as that exists, and nothing that engines or files do ends it.
"""
