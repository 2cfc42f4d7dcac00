//! The doors, over real connections.
