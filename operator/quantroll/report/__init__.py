"""The report on one QuantizedModel, from its spec and status alone: PURE, no IO and no clock. Needs the extra `cli`."""
