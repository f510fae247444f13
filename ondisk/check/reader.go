package check

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/covol/covol/ondisk"
	"github.com/covol/covol/ondisk/blockdev"
)

const (
	windowBlocks = 16  // read at once: a metadata chunk
	windowCount  = 512 // kept: 32 MiB
)

// reader gives blocks of the volume, as they will be after replay once overlay is filled. Blocks that it returns
// stay as they are; they are shared and must not be changed.
type reader struct {
	dev    blockdev.Device
	blocks uint64 // whole blocks of the device
	// overlay leads from a block to the place in a journal of its newest record.
	overlay map[uint64]uint64

	windows map[uint64]*list.Element // of *window
	recent  *list.List

	scratch []byte
}

// pool has the memory of windows of runs that have ended: crash tests check thousands of small volumes.
var pool = sync.Pool{New: func() any { return (*windowData)(blockdev.Alloc(windowBlocks * ondisk.BlockSize)) }}

type windowData [windowBlocks * ondisk.BlockSize]byte

type window struct {
	first uint64
	data  []byte // of whole; nil if the window could not be read as a whole
	whole *windowData
}

func newReader(dev blockdev.Device) *reader {
	return &reader{dev: dev, blocks: uint64(dev.Geometry().Size) / ondisk.BlockSize, overlay: map[uint64]uint64{},
		windows: map[uint64]*list.Element{}, recent: list.New()}
}

// block returns a block of the volume. Errors of class ErrMedium concern this block alone.
func (r *reader) block(ctx context.Context, blk uint64) ([]byte, error) {
	if at, ok := r.overlay[blk]; ok {
		blk = at
	}
	return r.raw(ctx, blk)
}

// raw returns a block of the device.
func (r *reader) raw(ctx context.Context, blk uint64) ([]byte, error) {
	if blk >= r.blocks {
		return nil, &ondisk.Corrupt{Struct: "volume", Block: blk, Field: "length of the device in blocks", Got: r.blocks}
	}
	w, err := r.window(ctx, blk/windowBlocks*windowBlocks)
	if err != nil {
		return nil, fmt.Errorf("read block %d: %w", blk, err)
	}
	if w.data != nil {
		at := (blk - w.first) * ondisk.BlockSize
		return w.data[at : at+ondisk.BlockSize : at+ondisk.BlockSize], nil
	}
	b := blockdev.Alloc(ondisk.BlockSize)
	if err := r.dev.ReadAt(ctx, b, int64(blk*ondisk.BlockSize)); err != nil {
		return nil, fmt.Errorf("read block %d: %w", blk, err)
	}
	return b, nil
}

func (r *reader) window(ctx context.Context, first uint64) (*window, error) {
	if e, ok := r.windows[first]; ok {
		r.recent.MoveToFront(e)
		return e.Value.(*window), nil
	}
	w := &window{first: first, whole: pool.Get().(*windowData)}
	w.data = w.whole[:min(windowBlocks, r.blocks-first)*ondisk.BlockSize]
	err := r.dev.ReadAt(ctx, w.data, int64(first*ondisk.BlockSize))
	if errors.Is(err, blockdev.ErrMedium) {
		w.data = nil
	} else if err != nil {
		return nil, err
	}
	r.windows[first] = r.recent.PushFront(w)
	if r.recent.Len() > windowCount {
		last := r.recent.Back()
		delete(r.windows, last.Value.(*window).first)
		r.recent.Remove(last)
	}
	return w, nil
}

// close gives the memory of all windows back. No block that was returned may be used any more.
func (r *reader) close() {
	for e := r.recent.Front(); e != nil; e = e.Next() {
		pool.Put(e.Value.(*window).whole)
	}
	clear(r.windows)
	r.recent.Init()
}

// buffer is n bytes for reads of data; the next call may give the same.
func (r *reader) buffer(n int) []byte {
	if len(r.scratch) < n {
		r.scratch = blockdev.Alloc(n)
	}
	return r.scratch[:n]
}
