//! The limits of a file of routes. A file decides how much work a check does and how deep a walk calls itself, so both have a
//! maximum. `docs/CONFIGURATION.md` lists them as well.

/// The maximum number of routes in a file. The check compares every destination with every route.
pub const MAX_ROUTES: usize = 1_000;

/// The maximum number of destinations in a file, over all routes.
pub const MAX_DESTINATIONS: usize = 10_000;

/// The maximum of `max_topics`: how many topics a destination with `for_each` publishes an event to. A look-up returns more
/// entries than that, so a list that is too long is recognized.
pub const MAX_TOPICS: u32 = 500;

/// The maximum number of transforms of a destination, transforms inside `json` included. The walks of the fan-out call
/// themselves once for each. In a debug build this many take less than half of the 2 MiB that a thread of tokio has.
pub const MAX_TRANSFORMS: usize = 64;

/// The maximum number of tables and lists inside one another in a file, and of steps of a JSON Pointer. Reading, comparing
/// and writing such a value call themselves once for each level.
pub const MAX_NESTING: usize = 64;
