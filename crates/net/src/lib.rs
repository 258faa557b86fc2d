//! UDP and TCP sockets, TLS contexts, affinity and privileges: the only unsafe code

