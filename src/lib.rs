//! A signed webhook comes in, is proven genuine, transformed, and fanned out to Momento topics.
