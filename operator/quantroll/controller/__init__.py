"""One pass over one QuantizedModel: gather, plan, write the status, carry it out."""
