// Package journal is a versioned cache of metadata blocks with a write-ahead log.
package journal
