// Package pki says who belongs to a cluster: a certificate authority, a certificate for each node, and the way in for
// a new one. It makes the TLS configuration by which nodes know each other.
//
// # Files
//
// A host keeps what it knows of its cluster in a directory of mode 0700, all files of mode 0600:
//
//	cluster.json  names, fingerprint, where the issuer is; written last: without it the directory is no cluster's
//	ca.crt        certificate of the authority
//	ca.key        its key, only on the host where the cluster was made, the issuer
//	node.crt      certificate of this node
//	node.key      its key, which never leaves the host
//	gossip.key    key of the membership gossip, the same on all nodes
//	issued/       on the issuer: which names have certificates, a file each
//	tokens/       on the issuer: tokens that let a node in, a file each
//
// # Who is who
//
// A certificate names its node by a URI, covol://CLUSTER/node/NAME. Host names and addresses mean nothing: the view on
// the disk says which node is in which slot and where, and the certificate of who answers there must carry that name.
//
// # Enrolment
//
// A token holds the cluster, the fingerprint of its authority, an address, a number and the seed of an Ed25519 key. The
// issuer keeps the number and the public half only, so that a copy of its tokens lets nobody in.
//
//	node                               issuer
//	 │ ───────── TLS 1.3 ─────────────► │ node.crt of the issuer, ca.crt behind it
//	 │ is that the authority's          │
//	 │ fingerprint of the token?        │
//	 │ ── name, request, signature ───► │ the signature covers the channel's exporter, the name and the request:
//	 │                                  │ it proves the token to this channel only, and shows it to nobody
//	 │ ◄── certificate, gossip key ──── │ the token is used up
//
// Renewal runs over the same port, both sides with their certificates; the key of the node stays. The issuer refuses it
// where the name was given to another key since, or was taken from its list.
//
// # Invariants
//
//	P1 No byte of a token's secret, and no gossip key, is sent before the other side has proven who it is.
//	P2 A name belongs to one key. Another key gets it only by a token that was made for that very name.
//	P3 A token lets in one node, once, before its end; after maxTries wrong proofs it is void.
//	P4 No file is overwritten unless the caller says so, and none is ever half written.
//
// Lock order: Issuer.mu and Credentials.mu are never held at once; the lock of the tokens directory is taken under
// neither.
package pki
