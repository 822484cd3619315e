package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// configFlag is the name of a TOML file whose keys are flags.
type configFlag string

// BeforeResolve makes the file answer for flags that neither the command line nor the environment sets.
func (configFlag) BeforeResolve(ctx *kong.Context, at *kong.Path) error {
	file := string(ctx.FlagValue(at.Flag).(configFlag))
	if file == "" {
		return nil
	}
	f, err := readConfig(file)
	if err != nil {
		return err
	}
	if err := f.Validate(ctx.Model); err != nil {
		return err
	}
	ctx.AddResolver(f)
	return nil
}

// configFile resolves flags from a TOML file.
type configFile struct {
	name   string
	values map[string]any
}

var _ kong.Resolver = (*configFile)(nil)

func readConfig(name string) (*configFile, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	f := &configFile{name: name}
	if err := toml.Unmarshal(text, &f.values); err != nil {
		return nil, fmt.Errorf("read --config %s: %w", name, err)
	}
	return f, nil
}

// Validate refuses keys that no flag has: a misspelt key that is silently ignored is the worst kind of setting.
func (f *configFile) Validate(model *kong.Application) error {
	known := configKeys(model.Node)
	for key := range f.values {
		if !slices.Contains(known, key) {
			return fmt.Errorf("read --config %s: unknown key %q; known are %s", f.name, key, strings.Join(known, ", "))
		}
	}
	return nil
}

// configKeys lists the flags that a file can set: those that the environment can set too.
func configKeys(n *kong.Node) []string {
	var keys []string
	for _, f := range n.Flags {
		if len(f.Envs) > 0 && f.Target.Type() != reflect.TypeFor[configFlag]() {
			keys = append(keys, f.Name)
		}
	}
	for _, child := range n.Children {
		keys = append(keys, configKeys(child)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Resolve answers for one flag. The environment wins over the file, as one container may differ from the others.
func (f *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) == 0 {
		return nil, nil // not a setting but an argument of one command
	}
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	value, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	return value, nil
}

// address is where the server listens and under which address browsers reach it.
type address struct {
	Listen  string `help:"Address to listen on (default ${default})." default:"127.0.0.1:8080" env:"DACHS_LISTEN" placeholder:"HOST:PORT"`
	BaseURL string `help:"Address of this server as browsers see it, such as https://stats.example.com. Default: from --listen." name:"base-url" env:"DACHS_BASE_URL" placeholder:"URL"`
}

// base returns the address for links, without a slash at the end. listen is the address that is really
// listened on, or the configured one where nothing listens yet.
func (a address) base(listen string) (string, error) {
	if a.BaseURL == "" {
		host, port, err := splitListen(listen)
		if err != nil {
			return "", err
		}
		return "http://" + net.JoinHostPort(host, port), nil
	}
	u, err := url.Parse(a.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", usagef("--base-url %q: want http:// or https:// and a host", a.BaseURL)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", usagef("--base-url %q: want scheme and host only, such as %s://%s", a.BaseURL, u.Scheme, u.Host)
	}
	return u.Scheme + "://" + u.Host, nil
}

// anyHost is how this machine calls itself where a server listens on all addresses.
const anyHost = "localhost"

// splitListen returns host and port under which this machine reaches a listener.
func splitListen(listen string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(listen)
	if err != nil {
		return "", "", usagef("--listen %q: want HOST:PORT or :PORT", listen)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = anyHost
	}
	return host, port, nil
}

// parsePrefixes reads networks as people write them: with a length, or a single address.
func parsePrefixes(list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(s); err == nil {
				ip = ip.Unmap()
				p, err = ip.Prefix(ip.BitLen())
			}
		}
		if err != nil {
			return nil, usagef("--trusted-proxies %q: want an address or a network, such as 127.0.0.1 or 10.0.0.0/8", s)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}
