//! Server-side apply that writes only what differs.
