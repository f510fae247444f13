package blockdev

import "unsafe"

// PageSize is the alignment that O_DIRECT transfers want, in bytes.
const PageSize = 4096

// Alloc returns n zero bytes that start on a page boundary.
func Alloc(n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n+PageSize-1)
	skip := (PageSize - int(uintptr(unsafe.Pointer(&b[0]))%PageSize)) % PageSize
	return b[skip : skip+n : skip+n]
}

// Aligned reports whether p starts on a page boundary.
func Aligned(p []byte) bool {
	return len(p) == 0 || uintptr(unsafe.Pointer(&p[0]))%PageSize == 0
}

// AlignedTo reports whether p starts on a multiple of n bytes.
func AlignedTo(p []byte, n int) bool {
	return len(p) == 0 || uintptr(unsafe.Pointer(&p[0]))%uintptr(n) == 0
}
