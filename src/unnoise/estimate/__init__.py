"""Memory and time of a request, estimated before any weight is read."""
