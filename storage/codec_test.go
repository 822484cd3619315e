package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func mustCodec(tb testing.TB) *codec {
	tb.Helper()
	c, err := newCodec()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.close)
	return c
}

// TestPiecesRoundTrip packs planes of every kind, each of which has to choose its own coding.
func TestPiecesRoundTrip(t *testing.T) {
	c := mustCodec(t)
	const rows = 5000
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(next func(i int) byte) []byte {
		b := make([]byte, rows)
		for i := range b {
			b[i] = next(i)
		}
		return b
	}
	for name, tt := range map[string]struct {
		plane  []byte
		coding byte
	}{
		"all the same": {fill(func(int) byte { return 7 }), pieceSame},
		"sorted":       {fill(func(i int) byte { return byte(i / 100) }), pieceRuns},
		"repeating":    {fill(func(i int) byte { return byte(i % 20) }), pieceZstd},
		"skewed":       {fill(func(int) byte { return byte(min(r.ExpFloat64()*20, 255)) }), pieceHuff},
		"random":       {fill(func(int) byte { return byte(r.Uint32()) }), pieceRaw},
	} {
		for _, planes := range []int{1, 2, 8} {
			raw := []byte("a dictionary")
			for range planes {
				raw = append(raw, tt.plane...)
			}
			packed := c.pack(c.tidy, raw, planes, rows)
			got, err := c.unpack(packed, []byte("before"))
			if err != nil || !bytes.Equal(got, append([]byte("before"), raw...)) {
				t.Errorf("%s, %d planes: not the same after a round trip, %v", name, planes, err)
			}
			// The first piece is the dictionary: coding, two lengths, itself.
			if coding := packed[3+len("a dictionary")]; coding != tt.coding {
				t.Errorf("%s: coding %d, want %d", name, coding, tt.coding)
			}
		}
	}
}

func TestDamagedPieces(t *testing.T) {
	c := mustCodec(t)
	for name, src := range map[string][]byte{
		"cut in a length":       {pieceRaw, 0x80},
		"no second length":      {pieceRaw, 1},
		"longer than the chunk": {pieceRaw, 5, 5, 'a'},
		"unknown coding":        {9, 1, 1, 'a'},
		"shorter than it says":  {pieceRaw, 5, 1, 'a'},
		"longer than it says":   {pieceRaw, 1, 2, 'a', 'b'},
		"too large":             {pieceRaw, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 'a'},
		"too large for Huffman": {pieceHuff, 0xff, 0xff, 0x7f, 1, 'a'},
		"no Huffman table":      {pieceHuff, 5, 1, 0},
		"no zstd":               {pieceZstd, 5, 1, 0},
		"two bytes for same":    {pieceSame, 5, 2, 'a', 'b'},
		"empty run":             {pieceRuns, 5, 4, 'a', 5, 'b', 0},
		"runs too long":         {pieceRuns, 5, 4, 'a', 3, 'b', 3},
		"runs too short":        {pieceRuns, 5, 4, 'a', 3, 'b', 1},
		"run cut in its length": {pieceRuns, 5, 3, 'a', 3, 'b'},
	} {
		if got, err := c.unpack(src, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzUnpack checks that damaged chunks give an error or bytes, and never a panic.
func FuzzUnpack(f *testing.F) {
	c := mustCodec(f)
	plane := make([]byte, 600)
	for i := range plane {
		plane[i] = byte(i * i >> 3 % 50)
	}
	f.Add(c.pack(c.fast, append([]byte("dict"), plane...), 1, 600))
	f.Add(c.pack(c.tidy, bytes.Repeat([]byte("ab"), 300), 1, 600))
	f.Add(c.pack(c.tidy, append(bytes.Repeat([]byte("a"), 300), bytes.Repeat([]byte("b"), 300)...), 1, 600))
	f.Fuzz(func(_ *testing.T, src []byte) { _, _ = c.unpack(src, nil) })
}
