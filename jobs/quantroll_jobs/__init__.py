"""The Jobs that the operator runs: prepare, quantize and evaluate. The contract is `quantroll.api.jobs`."""
