package main

import (
	"context"
	"fmt"
	"net/http"
)

type userCmd struct {
	Setup userSetupCmd `cmd:"" help:"Print a new one-time link to choose the dashboard's password. Earlier links end."`
}

type userSetupCmd struct {
	address
}

// Run implements the command. The link stands alone on standard output.
func (c *userSetupCmd) Run(ctx context.Context, a *app) error {
	base, err := c.base(c.Listen)
	if err != nil {
		return err
	}
	return a.with(ctx, local{Create: true, Base: base}, func(cl *client) error {
		var link setupLink
		if err := cl.call(ctx, http.MethodPost, "/setup", nil, &link); err != nil {
			return fmt.Errorf("make set-up link: %w", err)
		}
		fmt.Fprintf(a.stderr, "Open this to choose a password (works once, until %s):\n", clock(link.Until))
		_, err := fmt.Fprintln(a.stdout, link.URL)
		return err
	})
}
