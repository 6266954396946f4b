//! The three cores in one seeded world.
