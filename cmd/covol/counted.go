package main

import (
	"context"
	"sync/atomic"

	"github.com/covol/covol/fs"
	"github.com/covol/covol/ondisk/blockdev"
)

// disk is a path to the device with all that a node uses of it.
type disk interface {
	blockdev.Device
	blockdev.CompareAndWriter
	blockdev.Submitter
}

// counted counts what goes to the device.
type counted struct {
	disk
	reads, writes, flushes  atomic.Uint64
	readBytes, writtenBytes atomic.Uint64
}

var (
	_ blockdev.Device           = (*counted)(nil)
	_ blockdev.Submitter        = (*counted)(nil)
	_ blockdev.CompareAndWriter = (*counted)(nil)
)

func (c *counted) ReadAt(ctx context.Context, p []byte, off int64) error {
	c.count(blockdev.OpRead, len(p))
	return c.disk.ReadAt(ctx, p, off)
}

func (c *counted) WriteAt(ctx context.Context, p []byte, off int64, fua bool) error {
	c.count(blockdev.OpWrite, len(p))
	return c.disk.WriteAt(ctx, p, off, fua)
}

func (c *counted) Flush(ctx context.Context) error {
	c.count(blockdev.OpFlush, 0)
	return c.disk.Flush(ctx)
}

func (c *counted) Submit(ops []blockdev.Op) {
	for i := range ops {
		c.count(ops[i].Kind, len(ops[i].Buf))
	}
	c.disk.Submit(ops)
}

func (c *counted) count(kind blockdev.OpKind, n int) {
	switch kind {
	case blockdev.OpRead:
		c.reads.Add(1)
		c.readBytes.Add(uint64(n))
	case blockdev.OpWrite:
		c.writes.Add(1)
		c.writtenBytes.Add(uint64(n))
	case blockdev.OpFlush:
		c.flushes.Add(1)
	}
}

// openFiles is a volume that knows how many files programs have open.
type openFiles struct {
	*fs.Volume
	now atomic.Int64
}

func (o *openFiles) Open(ctx context.Context, c fs.Caller, ino fs.Ino, flags uint32) (fs.File, error) {
	f, err := o.Volume.Open(ctx, c, ino, flags)
	if err != nil {
		return nil, err
	}
	return o.counted(f), nil
}

func (o *openFiles) Create(ctx context.Context, c fs.Caller, parent fs.Ino, name string, mode, flags uint32, emit func(fs.Attr, fs.File)) error {
	return o.Volume.Create(ctx, c, parent, name, mode, flags, func(a fs.Attr, f fs.File) { emit(a, o.counted(f)) })
}

func (o *openFiles) counted(f fs.File) fs.File {
	o.now.Add(1)
	return &openFile{File: f, o: o}
}

type openFile struct {
	fs.File
	o *openFiles
}

func (f *openFile) Release(ctx context.Context) error {
	f.o.now.Add(-1)
	return f.File.Release(ctx)
}
