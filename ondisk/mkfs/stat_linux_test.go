package mkfs_test

import (
	"io/fs"
	"syscall"
)

// written is how many bytes of a file are on disk.
func written(st fs.FileInfo) int64 { return st.Sys().(*syscall.Stat_t).Blocks * 512 }
