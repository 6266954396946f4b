//! What one node should do next; pure.
