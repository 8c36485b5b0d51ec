"""Where a QuantizedModel stands, for people: pure functions from spec, status and time to what a terminal shows."""
