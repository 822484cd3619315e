package visit

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"dachs/tracker/secret"
)

// inverted reads the bits of a key upside down, so that the key itself is not in the test's own memory.
func inverted(word int) uint64 { return 0x0123456789abcdef * uint64(2*word+3) }

type invertedKey struct{}

func (invertedKey) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ^byte(inverted(i/8) >> (i % 8 * 8))
	}
	return len(p), nil
}

// A stack outlives the call that used it: just after a visitor was told apart, nothing of the key may be left on it.
func TestStackHoldsNoKey(t *testing.T) {
	var memory secret.Memory
	if memory.Best() != secret.Hidden {
		t.Skip("the key itself would be found")
	}
	key, release, err := memory.Fill(invertedKey{})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	tab := New[text, text](key)
	defer tab.Close()
	var told, end atomic.Bool
	var stack int64
	defer end.Store(true)
	go func() {
		var here byte
		stack = int64(uintptr(unsafe.Pointer(&here)))
		tab.thingOf(&visitor{}, seenPath, 1)
		tab.ID(someone, "Firefox")
		for told.Store(true); !end.Load(); { // without a call, which would overwrite the stack
		}
	}()
	for !told.Load() {
		runtime.Gosched()
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip(err)
	}
	defer mem.Close()
	words := [4]uint64{inverted(0), inverted(1), inverted(2), inverted(3)}
	buf := make([]byte, 1<<20)
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n != 2 || stack < from || stack >= to {
			continue
		}
		for at := from; at < to; at += int64(len(buf)) {
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			for i := 0; i+8 <= n; i += 8 {
				switch n := ^binary.LittleEndian.Uint64(buf[i:]); n {
				case words[0], words[1], words[2], words[3]:
					t.Errorf("%x of the key is at %x in %s", ^n, at+int64(i), line)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		break
	}
	if stack < from || stack >= to {
		t.Error("the stack is not found")
	}
}
