"""Networks from other libraries (`imports`, above networks), and for them (`exports`, below)."""
