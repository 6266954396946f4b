//! Where instances go.
