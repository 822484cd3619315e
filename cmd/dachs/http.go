package main

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"dachs/tracker"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// Limits of the public port. It is meant to stand open to the internet.
const (
	maxBody     = 64 << 10         // bytes; the largest event the tracker takes
	maxHeader   = 16 << 10         // bytes of request line and headers: a 2 KiB address, a 2 KiB referrer and cookies of the site
	maxConns    = 10_000           // connections at a time; each costs a goroutine and its buffers
	readTimeout = 10 * time.Second // for a whole request: a slow sender must not hold a connection for long
	idleTimeout = 60 * time.Second // between two requests of a connection
	// writeTimeout also covers the handler: the slowest is a report over years with filters.
	writeTimeout = 30 * time.Second
)

// newPublicServer puts the tracker and the dashboard on one port.
func newPublicServer(tr *tracker.Tracker, board http.Handler, logger *slog.Logger) *fasthttp.Server {
	show := fasthttpadaptor.NewFastHTTPHandler(board)
	return &fasthttp.Server{
		Handler: guard(logger, func(ctx *fasthttp.RequestCtx) {
			if tr.Serve(ctx) {
				return
			}
			// The dashboard slows down whoever guesses passwords, and knows nothing of proxies.
			ctx.SetRemoteAddr(net.TCPAddrFromAddrPort(netip.AddrPortFrom(tr.ClientAddr(ctx), 0)))
			defer ctx.SetRemoteAddr(nil) // the next request of this connection may be of another client
			show(ctx)
		}),
		ErrorHandler:                 refuseRequest,
		Logger:                       quiet{logger},
		MaxRequestBodySize:           maxBody,
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		Concurrency:                  maxConns,
		DisablePreParseMultipartForm: true, // nothing here takes one, and parsing may write files
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true,
	}
}

// guard answers 500 when a handler panics. The log gets where it happened and nothing of what was asked:
// neither the panic's value nor the request may reach it, since both can hold an address or a URL.
func guard(logger *slog.Logger, next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if v := recover(); v != nil {
				logPanic(logger, v)
				ctx.Response.Reset()
				ctx.Response.SetConnectionClose()
				ctx.Error("internal error", fasthttp.StatusInternalServerError)
			}
		}()
		next(ctx)
	}
}

// logPanic logs a panic that a deferred function has just recovered: its type and where it happened.
func logPanic(logger *slog.Logger, v any) {
	pcs := make([]uintptr, 32) // deep enough to reach from a library back into this program
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			break
		}
	}
	logger.Error("panic while answering a request", "type", fmt.Sprintf("%T", v), "at", at)
}

// refuseRequest answers what fasthttp could not read as a request. It repeats nothing of it.
func refuseRequest(ctx *fasthttp.RequestCtx, err error) {
	status, text := fasthttp.StatusBadRequest, "malformed request"
	timeout, isNet := err.(interface{ Timeout() bool })
	_, tooLong := err.(*fasthttp.ErrSmallBuffer)
	switch {
	case err == fasthttp.ErrBodyTooLarge:
		status, text = fasthttp.StatusRequestEntityTooLarge, "body is larger than 64 KiB"
	case tooLong:
		status, text = fasthttp.StatusRequestHeaderFieldsTooLarge, "headers are larger than 16 KiB"
	case isNet && timeout.Timeout():
		status, text = fasthttp.StatusRequestTimeout, "request took too long"
	}
	ctx.Error(text, status)
}

// quiet is fasthttp's logger. Its messages carry client addresses and URLs, so only the fact is kept.
type quiet struct{ logger *slog.Logger }

// Printf implements fasthttp.Logger.
func (q quiet) Printf(string, ...any) {
	q.logger.Debug("connection ended with an error")
}

// silentLog takes the place of net/http's log, whose messages carry what was sent.
func silentLog() *log.Logger { return log.New(io.Discard, "", 0) }
