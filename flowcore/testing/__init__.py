"""What flowcore gives to the tests of others: a conformance suite for backends."""
