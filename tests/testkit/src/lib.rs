//! Ports, waits, processes and load for tests.
