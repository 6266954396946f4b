//! Chooses peers and judges their health; pure.
