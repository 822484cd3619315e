package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"
)

// A chunk is packed in pieces: the dictionary, and each plane of codes or sums. Each is stored in the way that suits it.
const (
	pieceRaw  = 0
	pieceZstd = 1 // what is sorted: runs and repetitions
	pieceHuff = 2 // what is not: Huffman coding alone is smaller then, or hardly larger, and thrice as fast to read
	pieceSame = 3 // one byte that is all bytes
	pieceRuns = 4 // what is sorted and has few values: the bytes of a run are set and not copied, one after the other
)

const (
	// maxChunkBytes bounds what a piece may claim to decompress to.
	maxChunkBytes = 64 << 20
	// minHuff is the smallest piece for which a Huffman table pays.
	minHuff = 256
	// huffSlack is the part by which Huffman coding may be larger and is taken all the same: a fifth for planes that are
	// nearly random, such as countries, costs 3 % of a store.
	huffSlack = 5
	// runsSlack is by how many bytes runs may be larger.
	runsSlack = 64
)

// codec compresses chunks. It is safe for concurrent use.
type codec struct {
	fast *zstd.Encoder // for runs that are soon merged
	tidy *zstd.Encoder // for those that stay: 3 % smaller, twice the time
	dec  *zstd.Decoder
	huff sync.Pool // *huff0.Scratch
}

func newCodec() (*codec, error) {
	encoder := func(level zstd.EncoderLevel) (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20),
			zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(level)) // Badger has a checksum for every block of a table
	}
	fast, err := encoder(zstd.SpeedDefault)
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	tidy, err := encoder(zstd.SpeedBetterCompression)
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxChunkBytes))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	c := &codec{fast: fast, tidy: tidy, dec: dec}
	c.huff.New = func() any { return &huff0.Scratch{Reuse: huff0.ReusePolicyNone} }
	return c, nil
}

func (c *codec) close() {
	c.fast.Close()
	c.tidy.Close()
	c.dec.Close()
}

// chunks encodes every column and measure of a block as the values of its chunk keys.
func (c *codec) chunks(s *schema, ref runRef, n int, b *block, put func(key, value []byte) error) error {
	enc := c.fast
	if ref.level >= closedLevel {
		enc = c.tidy
	}
	var raw []byte
	for _, col := range s.columns {
		raw = appendColumn(raw[:0], b.dicts[col], b.codes[col], b.baseOf(s, col))
		if err := put(ref.chunkKey(n, uint8(col)), c.pack(enc, raw, codePlanes(len(b.dicts[col]), b.baseOf(s, col)), b.rows)); err != nil {
			return err
		}
	}
	for m := range s.measures {
		raw = appendSums(raw[:0], b.sums[m])
		if err := put(ref.chunkKey(n, uint8(measureColumn+m)), c.pack(enc, raw, int(raw[0]), b.rows)); err != nil {
			return err
		}
	}
	return nil
}

// pack compresses a column or measure: what comes before the planes, then each plane of one byte a row.
func (c *codec) pack(enc *zstd.Encoder, raw []byte, planes, rows int) []byte {
	head := len(raw) - planes*rows
	packed := c.packPiece(nil, enc, raw[:head])
	for rest := raw[head:]; len(rest) > 0; rest = rest[rows:] {
		packed = c.packPiece(packed, enc, rest[:rows])
	}
	return packed
}

// packPiece appends: coding(1), uvarint length, uvarint stored length, stored bytes.
func (c *codec) packPiece(dst []byte, enc *zstd.Encoder, piece []byte) []byte {
	coding, stored := byte(pieceRaw), piece
	if same(piece) {
		coding, stored = pieceSame, piece[:1]
	} else if z := enc.EncodeAll(piece, nil); len(z) < len(piece) {
		coding, stored = pieceZstd, z
	}
	if coding == pieceZstd {
		if runs := appendRuns(nil, piece, len(stored)+runsSlack); runs != nil {
			return appendPiece(dst, pieceRuns, piece, runs)
		}
	}
	if len(piece) >= minHuff && coding != pieceSame {
		s := c.huff.Get().(*huff0.Scratch)
		if h, _, err := huff0.Compress4X(piece, s); err == nil && len(h) <= len(stored)+len(stored)/huffSlack {
			coding, stored = pieceHuff, h
		}
		dst = appendPiece(dst, coding, piece, stored)
		c.huff.Put(s) // its memory is that of h
		return dst
	}
	return appendPiece(dst, coding, piece, stored)
}

func appendPiece(dst []byte, coding byte, piece, stored []byte) []byte {
	dst = append(dst, coding)
	dst = binary.AppendUvarint(dst, uint64(len(piece)))
	dst = binary.AppendUvarint(dst, uint64(len(stored)))
	return append(dst, stored...)
}

func same(piece []byte) bool {
	for _, b := range piece {
		if b != piece[0] {
			return false
		}
	}
	return len(piece) > 0
}

// appendRuns appends each byte with how often it follows itself, or returns nil if that is more than most bytes.
func appendRuns(dst, piece []byte, most int) []byte {
	for len(piece) > 0 {
		n := 1
		for n < len(piece) && piece[n] == piece[0] {
			n++
		}
		dst = binary.AppendUvarint(append(dst, piece[0]), uint64(n))
		if len(dst) > most {
			return nil
		}
		piece = piece[n:]
	}
	return dst
}

// unpack appends the pieces of a chunk to dst.
func (c *codec) unpack(src, dst []byte) ([]byte, error) {
	for len(src) > 0 {
		coding := src[0]
		size, rest, err := readUvarint(src[1:])
		if err != nil {
			return nil, err
		}
		stored, rest, err := readUvarint(rest)
		if err != nil {
			return nil, err
		}
		if size > maxChunkBytes || stored > uint64(len(rest)) {
			return nil, corruptf("piece of %d bytes runs past the end", stored)
		}
		before := len(dst)
		if dst, err = c.unpackPiece(dst, coding, rest[:stored], int(size)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if len(dst) != before+int(size) {
			return nil, corruptf("piece of %d bytes, want %d", len(dst)-before, size)
		}
		src = rest[stored:]
	}
	return dst, nil
}

func (c *codec) unpackPiece(dst []byte, coding byte, stored []byte, size int) ([]byte, error) {
	switch coding {
	case pieceRaw:
		return append(dst, stored...), nil
	case pieceZstd:
		return c.dec.DecodeAll(stored, dst)
	case pieceHuff:
		return c.unpackHuff(dst, stored, size)
	case pieceSame:
		if len(stored) != 1 {
			return nil, errors.New("no single byte")
		}
		return repeat(dst, stored[0], size), nil
	case pieceRuns:
		return unpackRuns(dst, stored, size)
	}
	return nil, fmt.Errorf("unknown coding %d", coding)
}

// repeat appends a byte n times.
func repeat(dst []byte, b byte, n int) []byte {
	dst = slices.Grow(dst, n)[:len(dst)+n]
	run := dst[len(dst)-n:]
	if n > 0 {
		run[0] = b
	}
	for done := 1; done < n; done *= 2 { // copying is quicker than setting one after the other
		copy(run[done:], run[:done])
	}
	return dst
}

// unpackRuns is the inverse of appendRuns.
func unpackRuns(dst, stored []byte, size int) ([]byte, error) {
	dst = slices.Grow(dst, size)
	for len(stored) > 0 {
		b := stored[0]
		n, rest, err := readUvarint(stored[1:])
		if err != nil || n == 0 || n > uint64(size) {
			return nil, fmt.Errorf("run of %d bytes", n)
		}
		dst, size, stored = repeat(dst, b, int(n)), size-int(n), rest
	}
	return dst, nil
}

func (c *codec) unpackHuff(dst, stored []byte, size int) ([]byte, error) {
	if size > huff0.BlockSizeMax {
		return nil, fmt.Errorf("piece of %d bytes", size)
	}
	s := c.huff.Get().(*huff0.Scratch)
	defer c.huff.Put(s)
	s, stored, err := huff0.ReadTable(stored, s)
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, size)[:len(dst)+size]
	// The decoder fills the capacity of what it is given.
	piece, err := s.Decoder().Decompress4X(dst[len(dst)-size:len(dst)-size:len(dst)], stored)
	if err == nil && len(piece) != size {
		err = errors.New("too short")
	}
	return dst, err
}
