//! The replicated state and every decision on it; pure.
