//! The data plane: listeners, proxying, probes, status.
