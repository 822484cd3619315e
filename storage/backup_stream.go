package storage

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// This file is the envelope of a backup: a line of text, the body in compressed parts, a checksum. FORMAT.md describes it
// byte by byte. What the body says is in backup.go and backup_read.go.

const (
	// BackupVersion is the version of the envelope and of the body; what lies in the body has the store's Format.
	BackupVersion = 1
	// firstBackupFormat is the first store format of which there are backups.
	firstBackupFormat = 2
	backupLine        = "dachs backup %d, store format %d\n"
	maxBackupLine     = 64
	// backupPart is how many bytes of body are compressed at once: it bounds the memory of both sides. Larger ones would
	// not compress better by much, since chunks are compressed already.
	backupPart = 1 << 20
	// maxBackupPart is more than a part that cannot be compressed takes.
	maxBackupPart = backupPart + backupPart/16
	// maxBackupKey and maxBackupValue are above what Badger takes with our options.
	maxBackupKey   = 1 << 16
	maxBackupValue = 32 << 20
)

// ErrBackup says that a backup is damaged, incomplete, or does not fit the others.
var ErrBackup = errors.New("backup cannot be used")

// anotherCopy is the remedy for all damage.
const anotherCopy = "; use another copy of it, or another backup"

// partWriter writes the envelope around a body. The first error sticks.
type partWriter struct {
	w     io.Writer
	goOn  func() error // asked before each part
	sum   hash.Hash
	enc   *zstd.Encoder
	body  []byte // that is not written yet
	frame []byte
	bytes int64 // written
	err   error
}

func newPartWriter(w io.Writer, format int, goOn func() error) (*partWriter, error) {
	// The fastest level: what is worth it, headers of small runs, repeats itself so much that any level will do.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(backupPart), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	p := &partWriter{w: w, goOn: goOn, sum: sha256.New(), enc: enc, body: make([]byte, 0, backupPart)}
	p.put(fmt.Appendf(nil, backupLine, BackupVersion, format))
	return p, nil
}

// put writes bytes as they are.
func (p *partWriter) put(b []byte) {
	if p.err == nil {
		p.err = p.goOn()
	}
	if p.err != nil {
		return
	}
	p.sum.Write(b)
	var n int
	n, p.err = p.w.Write(b)
	p.bytes += int64(n)
}

// write appends to the body.
func (p *partWriter) write(b []byte) {
	for len(b) > 0 && p.err == nil {
		n := min(len(b), backupPart-len(p.body))
		p.body = append(p.body, b[:n]...)
		b = b[n:]
		if len(p.body) == backupPart {
			p.flush()
		}
	}
}

func (p *partWriter) uvarint(n int) {
	var b [binary.MaxVarintLen64]byte
	p.write(b[:binary.PutUvarint(b[:], uint64(n))])
}

// field appends bytes with their length before them.
func (p *partWriter) field(b []byte) {
	p.uvarint(len(b))
	p.write(b)
}

func (p *partWriter) flush() {
	if len(p.body) == 0 {
		return
	}
	p.frame = p.enc.EncodeAll(p.body, append(p.frame[:0], 0, 0, 0, 0))
	binary.BigEndian.PutUint32(p.frame, uint32(len(p.frame)-4))
	p.put(p.frame)
	p.body = p.body[:0]
}

// finish writes the rest, the end mark and the checksum.
func (p *partWriter) finish() error {
	p.flush()
	p.put(make([]byte, 4))
	p.put(p.sum.Sum(nil))
	return p.err
}

// partReader reads a body out of its envelope.
type partReader struct {
	r     *bufio.Reader
	sum   hash.Hash
	dec   *zstd.Decoder
	frame []byte
	body  []byte // decompressed and not read yet
	buf   []byte // body's memory
	bytes int64  // read
	ended bool   // the end mark was there
}

func newPartReader(r io.Reader) (p *partReader, format int, err error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(backupPart))
	if err != nil {
		return nil, 0, fmt.Errorf("make decoder: %w", err)
	}
	p = &partReader{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New(), dec: dec}
	if format, err = p.line(); err != nil {
		dec.Close()
		return nil, 0, err
	}
	return p, format, nil
}

func (p *partReader) close() { p.dec.Close() }

// line reads the first line. It is short text, so that other files are told apart by it.
func (p *partReader) line() (format int, err error) {
	head, err := p.r.Peek(maxBackupLine) // a whole backup is longer
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	var version int
	if _, err := fmt.Sscanf(string(head), backupLine, &version, &format); err != nil {
		return 0, fmt.Errorf("%w: it does not begin as backups of Dachs do", ErrBackup)
	}
	line := fmt.Sprintf(backupLine, version, format)
	if len(head) < len(line) || string(head[:len(line)]) != line {
		return 0, fmt.Errorf("%w: it does not begin as backups of Dachs do", ErrBackup)
	}
	if version != BackupVersion || format > Format || format < firstBackupFormat {
		return 0, fmt.Errorf("%w: it is a backup of version %d of store format %d, this version of Dachs reads %d and up to %d: install the version that wrote it, or a newer one",
			ErrVersion, version, format, BackupVersion, Format)
	}
	_, err = p.full(make([]byte, len(line)))
	return format, err
}

// full reads bytes as they are into b.
func (p *partReader) full(b []byte) ([]byte, error) {
	n, err := io.ReadFull(p.r, b)
	p.bytes += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: it ends early, after %d bytes"+anotherCopy, ErrBackup, p.bytes)
	}
	if err != nil {
		return nil, err
	}
	p.sum.Write(b)
	return b, nil
}

// next reads the next part, or returns io.EOF at the end mark.
func (p *partReader) next() error {
	if p.ended {
		return io.EOF
	}
	var length [4]byte
	if _, err := p.full(length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 {
		p.ended = true
		return io.EOF
	}
	if n > maxBackupPart {
		return p.damaged(fmt.Sprintf("a part of %d bytes", n))
	}
	if p.frame == nil {
		p.frame = make([]byte, maxBackupPart)
	}
	frame, err := p.full(p.frame[:n])
	if err != nil {
		return err
	}
	p.buf, err = p.dec.DecodeAll(frame, p.buf[:0])
	if err != nil || len(p.buf) == 0 {
		return p.damaged("a part cannot be decompressed")
	}
	p.body = p.buf
	return nil
}

// Read implements io.Reader on the body. The end of the body is io.EOF.
func (p *partReader) Read(b []byte) (int, error) {
	for len(p.body) == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.body)
	p.body = p.body[n:]
	return n, nil
}

// ReadByte implements io.ByteReader on the body.
func (p *partReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := p.Read(b[:])
	return b[0], err
}

// bodyError explains an error of reading the body.
func (p *partReader) bodyError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return p.damaged("its body ends early")
	}
	return err
}

func (p *partReader) damaged(what string) error {
	return fmt.Errorf("%w: it is damaged before byte %d: %s"+anotherCopy, ErrBackup, p.bytes, what)
}

func (p *partReader) uvarint() (int, error) {
	n := uint64(0)
	for shift := 0; shift < 63; shift += 7 {
		c, err := p.ReadByte()
		if err != nil {
			return 0, p.bodyError(err)
		}
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int(n), nil
		}
	}
	return 0, p.damaged("a number is too large")
}

// field reads bytes with their length before them into b's memory.
func (p *partReader) field(b []byte, most int) ([]byte, error) {
	n, err := p.uvarint()
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, p.damaged(fmt.Sprintf("a field of %d bytes", n))
	}
	b = b[:0]
	for len(b) < n { // part by part, so that a made-up length takes no memory
		step := min(n-len(b), backupPart)
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(p, b[at:]); err != nil {
			return nil, p.bodyError(err)
		}
	}
	return b, nil
}

// finish checks that the body is read whole, that the checksum is right, and that nothing follows.
func (p *partReader) finish() error {
	if len(p.body) > 0 {
		return p.damaged("its body goes on after its end")
	}
	switch err := p.next(); {
	case err == nil:
		return p.damaged("its body goes on after its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	want := p.sum.Sum(nil)
	got, err := p.full(make([]byte, sha256.Size))
	if err != nil {
		return err
	}
	if [sha256.Size]byte(want) != [sha256.Size]byte(got) {
		return fmt.Errorf("%w: it is damaged: its checksum is wrong"+anotherCopy, ErrBackup)
	}
	switch _, err := p.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows after its end, byte %d"+anotherCopy, ErrBackup, p.bytes)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
