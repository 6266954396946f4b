//! TCP services: a document named by a port number opens that port and relays its connections to the document's peers.

mod options;

pub use options::TcpOptions;
