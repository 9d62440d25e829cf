"""Endpoints: one server protocol a file; maps every foreign error. Also the servers: real ones and the fake one."""
