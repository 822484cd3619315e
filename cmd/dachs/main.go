// Command dachs is privacy-first web analytics in one binary: it serves a small script, takes page views and
// events, keeps only counts, and shows them on a dashboard.
//
// Everything that exits, reads flags or knows the environment is here; the other packages are libraries.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // the image has no files beside the binary, and sites have time zones

	"github.com/alecthomas/kong"
)

// Exit codes. Scripts rely on them.
const (
	exitOK    = 0
	exitError = 1 // it was tried and did not work
	exitUsage = 2 // the command, a flag or the configuration is wrong; nothing was tried
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// Here and not in a command: a library must not change the process that it is in, and imports know visitors too.
	if err := forbidDumps(); err != nil {
		fmt.Fprintln(os.Stderr, "dachs: other programs of this user can read what is in memory:", err)
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// commands is the command line. Flags that carry an env tag can also stand in the file of --config.
type commands struct {
	Config configFlag `help:"Read flags from this TOML file. Flags and environment win over it." env:"DACHS_CONFIG" placeholder:"FILE"`
	Data   string     `help:"Directory that holds the counts (default ${default})." default:"${data}" env:"DACHS_DATA" placeholder:"DIR"`
	encryption
	LogLevel string `help:"Least level to log on standard error: debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"DACHS_LOG_LEVEL" placeholder:"LEVEL"`

	Serve       serveCmd       `cmd:"" default:"withargs" help:"Count and show (the default command)."`
	Demo        demoCmd        `cmd:"" help:"Show a dashboard full of made-up data, and a small shop to click in. Nothing is kept: --data is not used."`
	Site        siteCmd        `cmd:"" help:"Add, list and remove sites."`
	User        userCmd        `cmd:"" help:"Give access to the dashboard."`
	Token       tokenCmd       `cmd:"" help:"Create, list and revoke tokens: to read numbers, or to count from a server."`
	Query       queryCmd       `cmd:"" help:"Ask for numbers."`
	Import      importCmd      `cmd:"" help:"Count what happened before."`
	Backup      backupCmd      `cmd:"" help:"Write all counts to a file, beside a running server or without one."`
	Restore     restoreCmd     `cmd:"" help:"Make the data anew from backups."`
	Check       checkCmd       `cmd:"" help:"Look at every byte of the store, and say what is wrong."`
	Doctor      doctorCmd      `cmd:"" help:"See how requests reach the running server through a proxy, and what to set."`
	Bench       benchCmd       `cmd:"" help:"Measure this machine with made-up data."`
	BenchServer benchServerCmd `cmd:"" hidden:"" name:"bench-server"`
	Healthcheck healthcheckCmd `cmd:"" help:"Exit with 0 if the server can count, for containers."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// app is what a command is given beside its flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	data           string                 // directory of the store
	key            func() ([]byte, error) // reads the key of the store's encryption; nil without one
	logger         *slog.Logger
	now            func() time.Time
	random         io.Reader // of visitors' keys; nil: crypto/rand
}

// usageError marks errors for which the caller, not the machine, is to blame.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program but for the exit: it executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := execute(ctx, args, stdin, stdout, stderr)
	if err == nil {
		return exitOK
	}
	// One line, whatever the cause wrote: log collectors and people both read lines.
	fmt.Fprintln(stderr, "dachs:", strings.Join(strings.Fields(err.Error()), " "))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitError
}

func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("dachs"),
		kong.Description("Privacy-first web analytics in one binary. Without a command it serves; `dachs serve --help` lists the flags for that."),
		kong.Writers(stdout, stderr),
		kong.Vars{"data": defaultData},
		kong.Exit(func(int) { helped = true }), // kong calls it once help is printed
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return usagef("%w; `dachs --help` lists commands and flags", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cli.LogLevel)); err != nil {
		return usagef("--log-level: %w", err)
	}
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		data:   cli.Data,
		key:    cli.encryption.key,
		logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
		now:    time.Now,
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(a)
}
