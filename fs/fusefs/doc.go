// Package fusefs serves a filesystem to the kernel through FUSE, whatever the transport.
package fusefs
