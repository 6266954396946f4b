//! End to end: the shipped binary as users run it, under load and under faults.
