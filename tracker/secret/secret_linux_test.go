package secret

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// limited returns memory that does without the kinds above most.
func limited(most Kind) *Memory { return &Memory{avoid: true, most: most} }

// available skips a test where the system has no memory of a kind, such as Hidden in most containers and old kernels.
func available(t *testing.T, k Kind) {
	t.Helper()
	if best := limited(k).Best(); best != k {
		t.Skipf("the system has no %v memory", k)
	}
}

var kinds = []Kind{Heap, Locked, Hidden}

// Each kind hands out pieces of their own, many more than a page has, and takes them back.
func TestPieces(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			available(t, k)
			m := limited(k)
			type taken struct {
				piece   []byte
				release func()
			}
			var all []taken
			for i := range 300 {
				piece, kind, release := m.Take()
				if kind != k || len(piece) != KeySize || cap(piece) != KeySize || !bytes.Equal(piece, make([]byte, KeySize)) {
					t.Fatalf("piece %d is %v: %x", i, kind, piece)
				}
				for j := range piece {
					piece[j] = byte(i)
				}
				all = append(all, taken{piece, release})
			}
			if len(m.pages) != 3 {
				t.Errorf("300 pieces take %d pages, want 3", len(m.pages))
			}
			for i, p := range all {
				if !bytes.Equal(p.piece, bytes.Repeat([]byte{byte(i)}, KeySize)) {
					t.Fatalf("piece %d is overwritten: %x", i, p.piece)
				}
			}
			for _, p := range all[1:] {
				p.release()
				p.release() // again does nothing
			}
			if len(m.pages) != 1 || m.pages[0].n != 1 || !bytes.Equal(m.pages[0].bytes[KeySize:], make([]byte, len(m.pages[0].bytes)-KeySize)) {
				t.Error("pieces that were released are still there")
			}
			all[0].release()
			if len(m.pages) != 0 {
				t.Error("a page without pieces is held")
			}
		})
	}
}

// What is released is overwritten, before the system gets it back.
func TestReleaseOverwrites(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			available(t, k)
			m := limited(k)
			_, _, other := m.Take() // keeps the page
			defer other()
			piece, release, err := m.Fill(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(piece, make([]byte, KeySize)) {
				t.Fatal("nothing was read")
			}
			release()
			if !bytes.Equal(piece, make([]byte, KeySize)) {
				t.Error("the key is left")
			}
		})
	}
}

// mapping returns what the kernel says of the memory that b lies in, empty if it is not mapped.
func mapping(t *testing.T, addr uintptr) string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	inside := false
	var b strings.Builder
	for line := range strings.Lines(string(smaps)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= addr && addr < to
		}
		if inside {
			b.WriteString(line)
		}
	}
	return b.String()
}

// vmFlags are what the kernel calls locked, not in dumps, and not for children.
var vmFlags = []string{"lo", "dd", "dc"}

func TestSystemProtects(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			available(t, k)
			m := limited(k)
			piece, _, release := m.Take()
			addr := uintptr(unsafe.Pointer(&piece[0]))
			said := mapping(t, addr)
			_, flags, _ := strings.Cut(said, "VmFlags:")
			for _, f := range vmFlags {
				if !strings.Contains(flags, " "+f) {
					t.Errorf("the memory lacks %q:\n%s", f, said)
				}
			}
			// The process itself reads it as any other would.
			copy(piece, "canary-of-the-key")
			mem, err := os.Open("/proc/self/mem")
			if err != nil {
				t.Skip(err)
			}
			defer mem.Close()
			got := make([]byte, KeySize)
			_, err = mem.ReadAt(got, int64(addr))
			if hidden := err != nil; hidden != (k == Hidden) || !hidden && !bytes.Equal(got, piece) {
				t.Errorf("/proc/self/mem reads %q, %v", got, err)
			}
			release()
			if left := mapping(t, addr); strings.Contains(left, "secretmem") || k == Locked && strings.Contains(left, " lo") {
				t.Errorf("it is mapped after the release:\n%s", left)
			}
		})
	}
}

func TestFillPassesErrorsOn(t *testing.T) {
	m := new(Memory)
	if _, _, err := m.Fill(strings.NewReader("too short")); err == nil {
		t.Error("a key of nine bytes is taken")
	}
	if len(m.pages) != 0 {
		t.Error("the piece is not given back")
	}
}
