"""The rules of a request by their subject, as pure functions: which events follow from a state and a
stimulus."""
