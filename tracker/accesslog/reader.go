// Package accesslog reads the access logs of web servers: one line after the other, in bounded memory,
// whatever the lines hold. It knows nothing of counting; what it reads is gone with the next line.
//
// Formats: Apache's common, combined, vhost_common and vhost_combined, nginx's combined (the same text with other
// escapes), and Caddy's JSON. Fields behind those of the format are ignored.
package accesslog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// MaxLine is the longest line in bytes, line end included, that is looked at. Servers cut request lines and
// headers at 8 KiB by default; what is longer than all of them together is not a line of a log.
const MaxLine = 64 << 10

// Format is the layout of a log's lines.
type Format uint8

// The formats. Auto takes each line for what it looks like; after the first line with a user agent, a line
// without one is taken for a line that was cut short.
const (
	Auto Format = iota
	Common
	Combined
	VHostCommon
	VHostCombined
	Caddy

	formats
)

var formatNames = [formats]string{"auto", "common", "combined", "vhost_common", "vhost_combined", "caddy"}

// String returns the format's name.
func (f Format) String() string { return formatNames[f] }

// ParseFormat is the inverse of Format.String; the empty string is Auto.
func ParseFormat(name string) (Format, error) {
	for f, n := range formatNames {
		if n == name {
			return Format(f), nil
		}
	}
	if name == "" {
		return Auto, nil
	}
	return 0, fmt.Errorf("log format %q: unknown; known are %s", name, strings.Join(formatNames[:], ", "))
}

// Request is one line of a log. Its strings are valid UTF-8 and share no memory with each other or with the
// line, so that keeping one does not keep the address in memory.
type Request struct {
	Time       time.Time // in the zone of the log
	Addr       netip.Addr
	Method     string // empty if the line holds no request, as for connections that sent none
	Host       string // lower case, without port; empty if the log does not say
	Target     string // path and query; starts with a slash unless Method is not GET
	Status     int
	Referrer   string
	UserAgent  string
	AgentKnown bool // the log has a field for the user agent, be it empty

	// The rest is known of Caddy only.
	Language    string // Accept-Language
	Purpose     string // Sec-Purpose or Purpose
	ContentType string // of the answer
	GPC, DNT    bool   // Sec-GPC: 1, DNT: 1
}

// ErrCutOff says that a compressed log ends before its end, as a copy does that was interrupted.
var ErrCutOff = errors.New("the compressed file is cut off")

// LineError says why a line could not be read. It holds nothing of the line. The Reader can go on after it.
type LineError struct {
	Line  int64  // from 1
	Cause string // one of a small fixed set
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Cause) }

// cause is an unreadable line before its number is known.
type cause string

// The causes, as reports show them.
const (
	causeTooLong  cause = "longer than 64 KiB"
	causeNUL      cause = "NUL bytes"
	causeEmpty    cause = "empty line"
	causeLayout   cause = "not a line of a known format"
	causeOther    cause = "not of the format asked for"
	causeAddress  cause = "no client address" // also host names, which Apache writes with HostnameLookups on
	causeTime     cause = "no valid time"
	causeStatus   cause = "no valid status"
	causeTarget   cause = "no valid request target"
	causeCutShort cause = "cut short"
	causeNone     cause = ""
)

// Reader reads the lines of one log. It is not safe for concurrent use.
type Reader struct {
	format    Format
	lines     *bufio.Reader
	zipped    bool
	count     int64
	bytes     tally
	sawAgents bool
	caddy     caddyParser
}

// NewReader reads the log in r, compressed with gzip (any number of members) or not. It reads the first bytes
// to tell; an error is that of r, or of a gzip header that is damaged, and ErrCutOff if that is incomplete.
func NewReader(r io.Reader, f Format) (*Reader, error) {
	lr := &Reader{format: f}
	plain, err := lr.decompress(r)
	if err != nil {
		return nil, lr.explain(err)
	}
	lr.lines = bufio.NewReaderSize(io.TeeReader(plain, &lr.bytes), MaxLine)
	if bom, _ := lr.lines.Peek(3); string(bom) == "\xef\xbb\xbf" {
		lr.lines.Discard(len(bom))
	}
	return lr, nil
}

func (r *Reader) decompress(log io.Reader) (io.Reader, error) {
	b := bufio.NewReader(log)
	if magic, _ := b.Peek(2); string(magic) != "\x1f\x8b" {
		return b, nil
	}
	r.zipped = true
	return gzip.NewReader(b)
}

// explain says of an error of the source what it means for the log.
func (r *Reader) explain(err error) error {
	// Of a header that is incomplete after its first two bytes gzip says no more than EOF.
	if r.zipped && (errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF) {
		return fmt.Errorf("read log: %w", ErrCutOff)
	}
	return fmt.Errorf("read log: %w", err)
}

// Lines returns the number of lines read so far, unreadable ones included.
func (r *Reader) Lines() int64 { return r.count }

// Bytes returns the number of bytes read so far, after decompression; the Reader reads ahead by up to MaxLine.
func (r *Reader) Bytes() int64 { return int64(r.bytes) }

// Next returns the next line. A *LineError speaks of this line only; io.EOF ends the log; any other error is
// ErrCutOff or that of the underlying reader, and final: the log is not complete.
func (r *Reader) Next() (Request, error) {
	line, why, err := r.line()
	if err != nil {
		return Request{}, err
	}
	r.count++
	var q Request
	if why == causeNone {
		q, why = r.parse(line)
	}
	if why != causeNone {
		return Request{}, &LineError{r.count, string(why)}
	}
	return q, nil
}

// line returns the next line without its end; it is valid until the next call.
func (r *Reader) line() ([]byte, cause, error) {
	line, err := r.lines.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, causeTooLong, r.skipLine()
	case err == io.EOF && len(line) == 0:
		return nil, causeNone, io.EOF
	case err != nil && err != io.EOF:
		return nil, causeNone, r.explain(err)
	}
	line = bytes.TrimRight(line, "\r\n")
	switch {
	case len(line) == 0:
		return nil, causeEmpty, nil
	case bytes.IndexByte(line, 0) >= 0:
		return nil, causeNUL, nil
	}
	return line, causeNone, nil
}

// skipLine leaves the rest of a line that is too long unread.
func (r *Reader) skipLine() error {
	for {
		_, err := r.lines.ReadSlice('\n')
		switch err {
		case nil, io.EOF:
			return nil
		case bufio.ErrBufferFull:
		default:
			return r.explain(err)
		}
	}
}

func (r *Reader) parse(line []byte) (q Request, why cause) {
	is := Caddy
	if line[0] == '{' {
		q, why = r.caddy.parse(line)
	} else {
		q, is, why = parseText(line)
	}
	switch {
	case why != causeNone:
		return q, why
	case r.format != Auto && r.format != is:
		return q, causeOther
	case r.format == Auto && r.sawAgents && !q.AgentKnown:
		return q, causeCutShort
	}
	if why = q.cleanTarget(); why == causeNone {
		r.sawAgents = r.sawAgents || q.AgentKnown
	}
	return q, why
}

// cleanTarget takes the host out of targets in absolute form, which proxies are sent (RFC 9112, section 3.2.2).
func (q *Request) cleanTarget() cause {
	if q.Method != "GET" {
		return causeNone
	}
	for _, scheme := range []string{"http://", "https://"} {
		if len(q.Target) < len(scheme) || !strings.EqualFold(q.Target[:len(scheme)], scheme) {
			continue
		}
		rest := q.Target[len(scheme):]
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		q.Host = cleanHost(rest[:end])
		q.Target = "/" + strings.TrimPrefix(rest[end:], "/")
	}
	if !strings.HasPrefix(q.Target, "/") {
		return causeTarget
	}
	return causeNone
}

// cleanHost brings a host, with or without a port, to the form of Request.Host.
func cleanHost(host string) string {
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		host = host[:at]
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// parseAddr reads an address, with or without a port behind it. The zone of a link-local address says which
// cable it came through, not who it is.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		p, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = p.Addr()
	}
	return a.Unmap().WithZone(""), true
}

// text copies b into a string of valid UTF-8; a lone "-" is how logs write "nothing".
func text(b []byte) string {
	if len(b) == 1 && b[0] == '-' {
		return ""
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// tally counts the bytes that pass through it.
type tally int64

func (t *tally) Write(p []byte) (int, error) {
	*t += tally(len(p))
	return len(p), nil
}
